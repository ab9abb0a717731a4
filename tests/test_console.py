"""Data goes to stdout, words go to stderr."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from vsuda_cli import console

pytestmark = pytest.mark.usefixtures("restored_console")


def test_words_go_to_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("[bold]no markup[/bold] a_T2.nii.gz 3.5 " + "x" * 300)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "[bold]no markup[/bold] a_T2.nii.gz 3.5 " + "x" * 300 + "\n"


def test_quiet_silences_words_but_not_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console.set_up_logging(quiet=True, verbose=0)
    console.say("working")
    logging.getLogger("vsuda_cli.io").warning("odd")
    console.fail("a.nii: is wrong; fix it")
    console.say("still working")
    assert capsys.readouterr().err == "error: a.nii: is wrong; fix it\n"


def test_what_is_said_is_one_line_whatever_a_case_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.set_up_logging(quiet=False, verbose=0)
    console.say("new\nline_R: nothing removed")
    console.fail("new\nline_R: out of memory; use fewer --workers")
    assert capsys.readouterr().err.splitlines() == [
        "new\\nline_R: nothing removed",
        "error: new\\nline_R: out of memory; use fewer --workers",
    ]


def test_loudness_is_what_the_last_call_says(capsys: pytest.CaptureFixture[str]) -> None:
    console.set_up_logging(quiet=True, verbose=0)
    console.set_up_logging(quiet=False, verbose=0)
    console.say("working")
    assert capsys.readouterr().err == "working\n"


@pytest.mark.parametrize(("verbose", "shown"), [(0, False), (1, True)])
def test_details_are_logged_when_asked_for(
    capsys: pytest.CaptureFixture[str], verbose: int, shown: bool
) -> None:
    console.set_up_logging(quiet=False, verbose=verbose)
    logging.getLogger("vsuda_cli.io.batch").debug("a detail")
    logging.getLogger("vsuda_cli.io.batch").info("a step")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a step" in captured.err
    assert ("a detail" in captured.err) is shown


def test_a_log_record_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    console.set_up_logging(quiet=False, verbose=0)
    path = "/data/" + "x" * 200 + "/a_hrT2.nii.gz"
    logging.getLogger("vsuda_cli.io").warning("%s: is [odd]", path)
    assert capsys.readouterr().err == f"warning: {path}: is [odd]\n"


def test_a_path_is_one_line_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_path(Path("out/a b\n_Label.nii.gz"))
    captured = capsys.readouterr()
    assert captured.out == "out/a b\\n_Label.nii.gz\n"
    assert captured.err == ""


def test_a_record_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_json({"case": "ä\n", "path": Path("x"), "value": 0.5})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"case": "ä\n", "path": "x", "value": 0.5}


def test_no_bar_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("Working", 2) as bar:
        bar.expect(3)
        bar.start_at(1)
        bar.advance(note="a")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_bar_counts_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(console, "err", terminal)
    with console.progress("Working", 0) as bar:
        bar.expect(4)
        bar.start_at(2)
        bar.advance(note="case_7")
    assert isinstance(terminal.file, io.StringIO)
    shown = terminal.file.getvalue()
    assert "Working" in shown
    assert "3/4" in shown
    assert "case_7" in shown


def test_work_goes_on_without_a_traceback_when_stdout_is_closed() -> None:
    # As `vsuda ... | head -1`: the reader goes away while lines are still being written.
    code = (
        "from vsuda_cli import console\n"
        "for number in range(100000):\n"
        "    console.emit_line(str(number))\n"
        "raise SystemExit(7)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 7
