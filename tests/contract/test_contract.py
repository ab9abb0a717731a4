"""One contract, run over all commands: what `vsuda COMMAND` promises whatever it does."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from command_line import Result, contents, run
from contract_world import BY_PATH, CALLS, COARSE, WRITING, build_world, do

from vsuda_cli.images import phantom_scan

README = Path(__file__).parents[2] / "README.md"
World = dict[str, Path]

every = pytest.mark.parametrize("name", list(CALLS))
writing = pytest.mark.parametrize("name", WRITING)
by_path = pytest.mark.parametrize("name", BY_PATH)
with_folders = pytest.mark.parametrize(
    ("name", "which"), [(name, which) for name, call in CALLS.items() for which in call.folders]
)
with_runs = pytest.mark.parametrize(
    ("name", "which"), [(name, which) for name, call in CALLS.items() for which in call.runs]
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [v for v in os.environ if v.startswith("VSUDA_")]:
        monkeypatch.delenv(variable)


@pytest.fixture(autouse=True, scope="module")
def _coarse_phantoms_and_an_old_date() -> Iterator[None]:
    # Reports carry their date.
    with (
        mock.patch.dict(phantom_scan.SIZES, tiny=COARSE),
        mock.patch.dict(os.environ, SOURCE_DATE_EPOCH="1000000000"),
    ):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Result, Path]]:
    """Every command's good call, quiet, done once."""
    results = {}
    for name in CALLS:
        out = tmp_path_factory.mktemp("made") / name
        force = [] if name == "rank" else ["--force"]
        results[name] = do(name, world, out, *force, "-q"), out
    return results


def refused(result: Result, *names: Path) -> None:
    """Exit code 2, nothing on stdout, and one line that names the culprit and a remedy."""
    assert result.code == 2, result
    assert result.out == ""
    assert "Traceback" not in result.err
    wrong = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(wrong) == 1, result.err
    assert ": " in wrong[0]
    assert "; " in wrong[0]
    for name in names:
        assert str(name) in wrong[0]
    assert "please report" not in result.err


def refused_and_kept(name: str, world: World, out: Path, told: str, *words: str) -> None:
    """Refused with these words, for the reason told, and nothing in the output changed."""
    before = contents(out)
    result = do(name, world, out, *words)
    refused(result)
    assert told in result.err
    assert contents(out) == before


# ---- what a reader sees


@every
def test_help_has_an_example_that_the_command_would_take(name: str) -> None:
    shown = run([name, "--help"])
    assert (shown.code, shown.err) == (0, "")
    text = re.sub(r"\s+", " ", re.sub("[│╭╮╰╯─]", " ", shown.out))
    assert f"Example: vsuda {name} " in text
    example = text.split("Example: ")[1].split(" Arguments ")[0]
    options = [word for word in shlex.split(example) if word.startswith("--")]
    for option in options:
        assert f"{option} " in text.replace(example, "")


@every
def test_the_readme_names_it(name: str) -> None:
    assert re.search(rf"^vsuda {name} ", README.read_text(), flags=re.MULTILINE)


@every
def test_an_unknown_option_and_too_few_arguments_are_refused(name: str, world: World) -> None:
    out = world["heads"].parent / "never"
    for words in ([*CALLS[name].words(world, out), "--no-such-option"], [name]):
        result = run(words)
        assert (result.code, result.out) == (2, "")
        assert "Usage: vsuda" in result.err
        assert "Traceback" not in result.err
    assert not out.exists()


# ---- a good call


@every
def test_a_good_call_ends_with_0_and_quiet_means_quiet(
    name: str, made: dict[str, tuple[Result, Path]]
) -> None:
    result, _ = made[name]
    assert (result.code, result.err) == (0, "")


@by_path
def test_stdout_holds_the_paths_of_written_files(
    name: str, made: dict[str, tuple[Result, Path]]
) -> None:
    result, out = made[name]
    assert result.lines
    assert len(set(result.lines)) == len(result.lines)
    for line in result.lines:
        assert Path(line).is_file()
        assert Path(line).is_relative_to(out)


@writing
def test_no_temporary_file_is_left(name: str, made: dict[str, tuple[Result, Path]]) -> None:
    _, out = made[name]
    assert contents(out)
    assert not [file for file in contents(out) if Path(file).name.startswith(".")]


@pytest.mark.parametrize("name", [*BY_PATH, "rank"])
def test_json_is_one_object_a_line(name: str, world: World, tmp_path: Path) -> None:
    dry = [] if name == "rank" else ["--dry-run"]
    result = do(name, world, tmp_path / "out", "--json", *dry)
    assert result.code == 0
    assert result.lines
    assert all(isinstance(json.loads(line), dict) for line in result.lines)


@writing
def test_a_dry_run_writes_nothing_and_names_the_same(
    name: str, world: World, made: dict[str, tuple[Result, Path]], tmp_path: Path
) -> None:
    call, out = CALLS[name], tmp_path / "out"
    before = contents(world["heads"].parent)
    result = do(name, world, out, "--dry-run", "-q")
    assert (result.code, result.err) == (0, "")
    assert not out.exists()
    assert contents(world["heads"].parent) == before
    done, there = made[name]
    planned = [Path(line).relative_to(out) for line in result.lines]
    if call.trains:
        # Which epoch is best is not known before: the run is named.
        assert planned == [Path()]
    elif call.prints_table:
        # Stdout is for the table; files are named where the call itself names them.
        assert not planned
        told = do(name, world, out, "--dry-run").err
        assert all(f"would be written: {out / file}\n" in told for file in contents(there))
    else:
        assert planned == [Path(line).relative_to(there) for line in done.lines]


@writing
def test_what_exists_is_refused_and_kept(
    name: str, world: World, made: dict[str, tuple[Result, Path]]
) -> None:
    _, out = made[name]
    refused_and_kept(name, world, out, "--force")


@writing
def test_a_second_run_changes_no_byte(
    name: str, world: World, made: dict[str, tuple[Result, Path]]
) -> None:
    first, out = made[name]
    before = contents(out)
    result = do(name, world, out, "--force", "-q")
    assert (result.code, result.out, result.err) == (0, first.out, "")
    assert contents(out) == before


@by_path
def test_what_is_whole_is_skipped(
    name: str, world: World, made: dict[str, tuple[Result, Path]]
) -> None:
    call = CALLS[name]
    _, out = made[name]
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    result = do(name, world, out, call.keeping)
    assert result.code == 0
    assert contents(out) == before
    if not call.trains:
        assert result.out == ""
        assert {path: path.stat().st_mtime_ns for path in times} == times


@by_path
def test_keeping_contradicts_replacing(
    name: str, world: World, made: dict[str, tuple[Result, Path]]
) -> None:
    _, out = made[name]
    words = ("--force", CALLS[name].keeping)
    refused_and_kept(name, world, out, "contradicts --force", *words)


# ---- bad input


@with_folders
def test_a_missing_and_an_empty_folder_are_refused(
    name: str, which: str, world: World, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "missing", empty):
        result = do(name, world, tmp_path / "out", **{which: folder})
        refused(result, folder)
        assert not (tmp_path / "out").exists()


@with_folders
def test_what_is_no_nifti_is_named_and_the_others_are_done(
    name: str, which: str, world: World, tmp_path: Path
) -> None:
    call, out = CALLS[name], tmp_path / "out"
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for file in world[which].iterdir():
        if file.is_file():
            os.link(file, mixed / file.name)
    labels = sorted(mixed.glob("*_Label.nii.gz"))
    bad = labels[-1] if which == "labels" else max(set(mixed.iterdir()) - set(labels))
    bad.unlink()
    bad.write_bytes(b"this is no image")
    result = do(name, world, out, **{which: mixed})
    assert "Traceback" not in result.err
    assert str(bad) in result.err
    if not call.by_case:
        refused(result, bad)
        assert not out.exists()
        return
    assert result.code == 1, result
    assert "1 case failed" in result.err.splitlines()[-1]
    alone = [
        one for one in mixed.iterdir() if one.name.endswith("_Label.nii.gz") == (which == "labels")
    ]
    if len(alone) > 1 or name == "check":
        assert contents(out)


@with_runs
def test_what_is_no_run_is_refused(name: str, which: str, world: World, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    other = {"cut": "seg", "seg": "cut"}[which]
    for wrong in (tmp_path / "missing", empty, world["source"], world[other]):
        result = do(name, world, tmp_path / "out", **{which: wrong})
        refused(result, wrong)
        assert not (tmp_path / "out").exists()


@writing
def test_an_unwritable_output_is_refused(name: str, world: World, tmp_path: Path) -> None:
    # Root may write everywhere, but not below a file.
    file = tmp_path / "file"
    file.write_text("mine")
    result = do(name, world, file / "out")
    refused(result)
    assert str(file) in result.err
    assert file.read_text() == "mine"


@writing
def test_a_file_where_a_folder_must_be_is_kept(name: str, world: World, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    refused(do(name, world, file, "--force"), file)
    assert file.read_text() == "mine"
