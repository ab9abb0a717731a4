"""Every outcome becomes an exit code, and `--help` costs no more than it must."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from command_line import run

from vsuda_cli import __version__, cli
from vsuda_cli.errors import InterruptedRunError, VsudaError
from vsuda_cli.io.nifti import load_image

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "monai", "ants", "cleanlab", "matplotlib", "scipy", "skimage", "nibabel"}


def ending(end: Callable[[], object]) -> Callable[..., object]:
    """Return a stand-in for the Typer app that ends in this way."""

    def app(**options: object) -> object:
        return end()

    return app


def raising(error: BaseException) -> Callable[[], object]:
    def end() -> object:
        raise error

    return end


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (raising(VsudaError("a.nii", "is odd", "mend it")), 2, "error: a.nii: is odd; mend it\n"),
        (raising(InterruptedRunError("saved epoch 3")), 130, "error: saved epoch 3\n"),
        (raising(KeyboardInterrupt()), 130, "error: interrupted\n"),
        (raising(typer.Abort()), 130, "error: interrupted\n"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 130, "error: interrupted\n"),
        (
            raising(OSError(28, "No space left on device", "out/a.nii")),
            2,
            "error: out/a.nii: No space left on device; check the path, its permissions and the "
            "space left\n",
        ),
        (
            raising(RuntimeError("odd")),
            2,
            "error: RuntimeError: odd; please report this, with the output of -vv\n",
        ),
    ],
)
def test_every_outcome_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[], object], code: int, told: str
) -> None:
    monkeypatch.setattr(cli, "app", ending(end))
    result = run(["check", "x"])
    assert (result.code, result.out, result.err) == (code, "", told)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], False),
        (["-v"], False),
        (["--verbose"], False),
        (["-vv"], True),
        (["-vvv"], True),
        (["-v", "-v"], True),
        (["-v", "--verbose"], True),
    ],
)
def test_a_traceback_is_shown_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, words: list[str], shown: bool
) -> None:
    monkeypatch.setattr(cli, "app", ending(raising(VsudaError("a", "is odd", "mend it"))))
    assert ("Traceback" in run(["check", "x", *words]).err) == shown
    monkeypatch.setenv("VSUDA_VERBOSE", "many")
    assert "Traceback" not in run(["check", "x"]).err
    monkeypatch.setenv("VSUDA_VERBOSE", "2")
    assert "Traceback" in run(["check", "x"]).err
    monkeypatch.setenv("VSUDA_CHECK_VERBOSE", "0")
    assert "Traceback" not in run(["check", "x"]).err
    monkeypatch.delenv("VSUDA_VERBOSE")
    monkeypatch.setenv("VSUDA_TRANSLATE_TRAIN_VERBOSE", "2")
    assert "Traceback" in run(["translate-train", "x"]).err
    assert "Traceback" not in run(["check", "x"]).err


def test_a_variable_that_sets_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSUDA_PRESET", "small")
    monkeypatch.setenv("VSUDA_FUSE_METHOD", "mean")
    assert "sets no option" not in run(["check", "nowhere"]).err
    monkeypatch.setenv("VSUDA_PREST", "small")
    monkeypatch.setenv("VSUDA_XYZ", "1")
    told = run(["check", "nowhere"]).err.splitlines()
    assert told[:2] == ["VSUDA_PREST sets no option; VSUDA_PRESET does", "VSUDA_XYZ sets no option"]
    assert run(["check", "nowhere", "-q"]).err.splitlines() == told[2:]
    monkeypatch.setenv("VSUDA_QUIET", "1")
    assert run(["check", "nowhere"]).err.splitlines() == told[2:]


@pytest.mark.parametrize("words", [["no-such-command"], ["--no-such-option"], ["check"], []])
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    result = run(words)
    assert result.code == 2
    assert "Usage: vsuda" in result.err + result.out
    assert "Traceback" not in result.err


def test_the_version() -> None:
    result = run(["--version"])
    assert (result.code, result.out, result.err) == (0, f"vsuda {__version__}\n", "")


def test_help_lists_all_commands_in_their_groups() -> None:
    result = run(["--help"])
    assert result.code == 0
    names = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
    assert len(names) == 14
    places = [result.out.index(f" {name} ") for name in names]
    assert places == sorted(places)
    panels = [result.out.index(panel) for panel in (cli.DATA, cli.ADAPT, cli.SEGMENT)]
    assert panels == sorted(panels)
    assert run(["-h"]).out == result.out


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from vsuda_cli import cli\n"
        "sys.argv = ['vsuda', *sys.argv[1:]]\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)\n"
    )
    for words in (["--help"], ["predict", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert "Usage: vsuda" in done.stdout
        imported = set(done.stderr.split())
        assert "typer" in imported
        assert not imported & HEAVY


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vsuda_cli", "check", "no such folder"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no such folder: is no folder; give folders\n"


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    # As `vsuda phantom ... --dry-run | head -1`, with more lines than a pipe holds.
    words = ["phantom", str(tmp_path / "out"), "--source", "2000", "--dry-run"]
    with subprocess.Popen(
        [sys.executable, "-m", "vsuda_cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith(b".nii.gz\n")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closed: str, tmp_path: Path) -> None:
    words = f"{sys.executable} -m vsuda_cli phantom out --source 1 --target 1"
    done = subprocess.run(
        f"{words} --validation 1 {closed}",
        shell=True,
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    # Nothing else got into what was written.
    assert load_image(next((tmp_path / "out").rglob("*_ceT1.nii.gz"))).array.any()
