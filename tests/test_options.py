"""Shared options become options of each command, with an environment variable each."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from vsuda_cli.options import BatchOptions, DeviceOptions, TrainingOptions, expand_options

SEEN: dict[str, Any] = {}


@expand_options
def work(
    images: Annotated[str, typer.Argument(help="Images.")],
    out: Annotated[Path, typer.Argument(help="Folder.")],
    batch: BatchOptions,
    device: DeviceOptions,
    side: Annotated[str, typer.Option("--side", help="Which.")] = "both",
    inplane_above: Annotated[float | None, typer.Option(help="MM.")] = None,
) -> None:
    """Work."""
    SEEN.clear()
    SEEN.update(images=images, out=out, batch=batch, device=device, side=side, above=inplane_above)


@expand_options
def train(options: TrainingOptions) -> None:
    """Train."""
    SEEN.clear()
    SEEN.update(options=options)


def call(command: Any, *arguments: str, **environment: str) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_a_group_is_replaced_by_its_fields() -> None:
    names = list(inspect.signature(work).parameters)
    assert names[:2] == ["images", "out"]
    assert not {"batch", "options"} & set(names)
    assert {"quiet", "verbose", "force", "skip_existing", "shard", "workers", "side"} <= set(names)
    # `device` is a group and the name of its only field: the field stands there.
    assert inspect.signature(work).parameters["device"].default == "auto"
    assert work.__name__ == "work"
    assert work.__doc__ == "Work."


def test_options_arrive_in_their_group() -> None:
    found = call(
        work,
        "in",
        "out",
        "--workers",
        "3",
        "--shard",
        "1/2",
        "-q",
        "-vv",
        "--json",
        "--device",
        "cpu",
    )
    assert found.exit_code == 0, found.output
    assert (SEEN["images"], SEEN["out"]) == ("in", Path("out"))
    expected = BatchOptions(quiet=True, verbose=2, as_json=True, shard="1/2", workers=3)
    assert SEEN["batch"] == expected
    assert SEEN["device"] == DeviceOptions("cpu")


def test_defaults_are_the_groups_own() -> None:
    assert call(work, "in", "out").exit_code == 0
    assert SEEN["batch"] == BatchOptions()
    assert call(train).exit_code == 0
    # Typer gives an empty list where an option that repeats is absent.
    assert not SEEN["options"].set_values
    assert SEEN["options"].preset == "paper"
    assert SEEN["options"].epochs is None


def test_training_options() -> None:
    arguments = ["--set", "a=1", "--set", "b=2", "--config", "c.toml", "--epochs", "4", "--resume"]
    assert call(train, *arguments).exit_code == 0
    options = SEEN["options"]
    assert options.set_values == ["a=1", "b=2"]
    assert (options.config, options.epochs, options.resume) == (Path("c.toml"), 4, True)


@pytest.mark.parametrize(
    ("variable", "value", "place"),
    [
        ("VSUDA_WORKERS", "5", lambda: SEEN["batch"].workers == 5),
        ("VSUDA_FORCE", "1", lambda: SEEN["batch"].force is True),
        ("VSUDA_SKIP_EXISTING", "true", lambda: SEEN["batch"].skip_existing is True),
        ("VSUDA_JSON", "1", lambda: SEEN["batch"].as_json is True),
        ("VSUDA_VERBOSE", "2", lambda: SEEN["batch"].verbose == 2),
        ("VSUDA_SIDE", "left", lambda: SEEN["side"] == "left"),
        ("VSUDA_INPLANE_ABOVE", "0.5", lambda: SEEN["above"] == 0.5),
        ("VSUDA_DEVICE", "cpu", lambda: SEEN["device"].device == "cpu"),
    ],
)
def test_every_option_has_an_environment_variable(variable: str, value: str, place: Any) -> None:
    assert call(work, "in", "out").exit_code == 0
    assert not place()
    assert call(work, "in", "out", **{variable: value}).exit_code == 0
    assert place()


def test_a_commands_own_variable_beats_that_of_all() -> None:
    assert call(work, "in", "out", VSUDA_SIDE="left", VSUDA_WORK_SIDE="right").exit_code == 0
    assert SEEN["side"] == "right"
    # Another command's says nothing here, though the same word may mean something else there.
    assert call(work, "in", "out", VSUDA_TRAIN_SIDE="left").exit_code == 0
    assert SEEN["side"] != "left"


def test_the_command_line_beats_the_environment() -> None:
    assert call(work, "in", "out", "--workers", "2", VSUDA_WORKERS="5").exit_code == 0
    assert SEEN["batch"].workers == 2


def test_what_is_typed_beats_what_the_environment_says_against_it() -> None:
    assert call(work, "in", "out", "--skip-existing", VSUDA_FORCE="1").exit_code == 0
    assert (SEEN["batch"].skip_existing, SEEN["batch"].force) == (True, False)
    assert call(train, "--force", VSUDA_RESUME="1").exit_code == 0
    assert (SEEN["options"].resume, SEEN["options"].force) == (False, True)
    for words, variables in (
        (["--resume", "--force"], {}),
        ([], {"VSUDA_RESUME": "1", "VSUDA_FORCE": "1"}),
    ):
        error = call(train, *words, **variables).exception
        assert "contradicts --force" in str(error)


def test_training_knows_what_was_typed() -> None:
    assert call(train, "--epochs", "4", VSUDA_SET="seed=1").exit_code == 0
    assert SEEN["options"].typed == {"epochs"}


def test_arguments_have_no_environment_variable() -> None:
    found = call(work, "in", VSUDA_OUT="elsewhere")
    assert found.exit_code == 2


def test_too_few_workers_are_refused() -> None:
    assert call(work, "in", "out", "--workers", "0").exit_code == 2


def test_one_command_does_not_change_another() -> None:
    # Both commands were made from the same Option objects.
    assert call(train, VSUDA_QUIET="1").exit_code == 0
    assert SEEN["options"].quiet
    assert call(work, "in", "out", VSUDA_QUIET="1").exit_code == 0
    assert SEEN["batch"].quiet


def test_nan_is_no_limit() -> None:
    assert call(work, "in", "out", "--inplane-above", "0.5").exit_code == 0
    SEEN.clear()
    found = call(work, "in", "out", "--inplane-above", "nan")
    assert found.exit_code == 2
    assert "nan is no number" in found.output
    assert not SEEN
