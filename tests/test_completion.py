"""Shells offer the values that an option takes, and the settings that --set knows."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import run
from typer.main import get_command

from vsuda_cli import cli, config
from vsuda_cli.completion import complete_setting, complete_values, settings_of, values_of
from vsuda_cli.resolving import resolve

HEAVY = {"torch", "monai", "ants", "cleanlab", "matplotlib", "scipy", "skimage", "nibabel"}
# Options of few values, and where the code that reads them keeps these.
CHOICES = {
    "phantom --size": "vsuda_cli.images.phantom_scan:SIZES",
    "phantom --structures": "vsuda_cli.images.phantom_anatomy:STRUCTURES",
    "crop --side": "vsuda_cli.commands.ear_crops:SIDES",
    "predict --side": "vsuda_cli.commands.ear_crops:SIDES",
    "fuse --method": "vsuda_cli.images.fusion:METHODS",
    "fuse --rule": "vsuda_cli.images.confident_learning:RULES",
    "postprocess --connectivity": "vsuda_cli.images.components:CONNECTIVITY",
    "rank --metrics": "vsuda_cli.images.ranking:MORE_IS_BETTER",
    "translate-train --method": "vsuda_cli.config:METHODS",
    "translate-train --preset": "vsuda_cli.resolving:PRESETS",
}
OTHERS = {
    "evaluate --assd": ["challenge", "pooled"],
    "translate-train --dims": ["2", "3"],
    "predict --checkpoint": ["best", "last"],
    "translate-export --checkpoint": ["best", "last"],
    "predict --device": ["auto", "cpu", "cuda"],
    "seg-train --device": ["auto", "cpu", "cuda"],
    # Open values are left to the shell, which offers files.
    "crop --atlas": [],
    "crop --size": [],
    "check --classes": [],
}


def offered(monkeypatch: pytest.MonkeyPatch, typed: str) -> list[str]:
    """Return what bash would show after `vsuda TYPED`."""
    monkeypatch.setenv("_VSUDA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"vsuda {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"vsuda {typed}x".split()) - 1))
    result = run([])
    assert (result.code, result.err) == (0, "")
    return result.lines


@pytest.mark.parametrize(("option", "place"), CHOICES.items())
def test_the_values_that_a_command_knows_are_offered(
    option: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = place.split(":")
    known = [str(value) for value in getattr(importlib.import_module(module), name)]
    assert sorted(offered(monkeypatch, f"{option} ")) == sorted(known)
    first = offered(monkeypatch, f"{option} {known[0][:3]}")
    assert first == [value for value in offered(monkeypatch, f"{option} ") if value in first]
    assert known[0] in first


@pytest.mark.parametrize(("option", "values"), OTHERS.items())
def test_other_options_of_few_values(
    option: str, values: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [line for line in offered(monkeypatch, f"{option} ") if line] == values


def test_lists_with_commas_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(monkeypatch, "rank --metrics Dice,") == [
        "Dice,ASSD",
        "Dice,HD95",
        "Dice,SurfaceDice",
    ]
    assert offered(monkeypatch, "phantom out --structures VS,coch") == ["VS,cochlea"]


def test_settings_are_offered_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = offered(monkeypatch, "seg-train images run --set ")
    assert {"epochs=", "unet.dropout=", "preprocessing.spacing_mm="} <= set(names)
    assert "ema_decay_start=" not in names
    assert offered(monkeypatch, "mt-train --set ema_decay") == [
        "ema_decay_start=",
        "ema_decay_end=",
    ]
    # Of a single one the value, too.
    expected = ["unet.dropout=", "unet.dropout=0.1"]
    assert offered(monkeypatch, "cutseg-train --set unet.dr") == expected
    assert offered(monkeypatch, "translate-train --set pool") == ["pool_size=", "pool_size=50"]


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("translate-train", config.TranslationSettings),
        ("seg-train", config.SegmentationSettings),
        ("mt-train", config.MeanTeacherSettings),
        ("cutseg-train", config.CutSegSettings),
    ],
)
def test_every_name_offered_is_one_that_is_taken(command: str, kind: type[config.Training]) -> None:
    context = typer.Context(get_command(cli.app), info_name=command)
    for key in settings_of(command):
        offer, example = complete_setting(context, f"{key}=")
        assert offer == f"{key}="
        assert example.startswith(offer)
        assert resolve(kind, preset="paper", set_values=[example]) == kind()


def test_what_a_metavar_says() -> None:
    assert values_of("best|last|N") == ["best", "last"]
    assert values_of("auto|cpu|cuda[:INDEX]") == ["auto", "cpu", "cuda"]
    assert values_of("X,Y,Z") == values_of("I/N") == values_of("NAME,...") == []
    assert complete_values("DIR") is None


def test_a_shell_waits_for_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from vsuda_cli import cli\n"
        "sys.argv = ['vsuda']\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={
            "_VSUDA_COMPLETE": "complete_bash",
            "COMP_WORDS": "vsuda seg-train --set epo",
            "COMP_CWORD": "3",
        },
    )
    assert done.stdout.splitlines() == ["epochs=", "epochs=300"]
    assert not set(done.stderr.split()) & (HEAVY | {"numpy"})
