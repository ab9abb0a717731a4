"""The two streams: stdout carries data, stderr speaks to people."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vsuda_cli.errors import printable
from vsuda_cli.io.libraries import SILENT, set_loudness

err = Console(stderr=True, highlight=False, soft_wrap=True)


def set_up_logging(quiet: bool, verbose: int) -> None:
    """Send our log lines to stderr: errors always, others unless quiet, details with -v.

    What libraries log or warn of is heard with -vv only: they name no file, and our lines do.
    """
    level = logging.ERROR if quiet else (logging.DEBUG if verbose else logging.INFO)
    handler = _LineHandler()
    logger = logging.getLogger("vsuda_cli")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    err.quiet = quiet
    set_loudness(logging.NOTSET if verbose >= 2 and not quiet else SILENT)


class _LineHandler(logging.Handler):
    """Prints each record as one line, however long: paths can be copied and searched for."""

    def emit(self, record: logging.LogRecord) -> None:
        line = Text(self.format(record))
        if record.levelno >= logging.WARNING:
            line = Text("warning: ", style="yellow") + line
        err.print(line)


def say(text: str) -> None:
    """Say one line to the person at the terminal (stderr), unless --quiet."""
    err.print(Text(printable(text)))


def fail(text: str) -> None:
    """Say in one line what is wrong, also with --quiet."""
    was_quiet, err.quiet = err.quiet, False
    err.print(Text("error: ", style="bold red") + Text(printable(text)))
    err.quiet = was_quiet


def emit_path(path: Path) -> None:
    """Report a written file: its path, alone on a line of stdout."""
    emit_line(printable(path))


def emit_json(record: dict[str, Any]) -> None:
    """Report one JSON object on a line of stdout."""
    emit_line(json.dumps(record, default=str))


def emit_line(text: str) -> None:
    """Write one line to stdout and hand it over at once, so that pipes see it.

    A reader that has gone (`| head`) has read enough; the work goes on without it.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        close_stdout()


def replace_closed_streams() -> None:
    """Point standard streams that the caller has closed (`>&-`) at nothing.

    Else the first file to be opened would take their number, and get what is written to them.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _point_at_nothing(number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def close_stdout() -> None:
    """Point stdout at nothing after its reader has gone (`| head`): no traceback at exit."""
    _point_at_nothing(1)


def _point_at_nothing(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.2f}/s" if speed else "-/s", style="progress.data.speed")


class _NoteBelow(Progress):
    """A bar with a line of its own for the note."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["note"], style="dim")


@contextmanager
def progress(title: str, total: int, *, note_below: bool = False) -> Iterator["Bar"]:
    """A progress bar with rate and time left on a terminal; nothing where stderr is a file.

    A note stands at the end of the line, or, if it may be long, below it.
    """
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    if not note_below:
        columns.append(TextColumn("{task.fields[note]}"))
    kind = _NoteBelow if note_below else Progress
    shown = kind(*columns, console=err, transient=True, disable=not err.is_terminal or err.quiet)
    with shown:
        yield Bar(shown, title, total)


class Bar:
    """One line of progress."""

    def __init__(self, shown: Progress, title: str, total: int) -> None:
        self._shown = shown
        self._task = shown.add_task(title, total=total, note="")

    def advance(self, note: str = "") -> None:
        """Count a finished step; `note` stands at the end of the line."""
        self._shown.update(self._task, advance=1, note=note)

    def expect(self, total: int) -> None:
        """Set how many steps there will be, once that is known."""
        self._shown.update(self._task, total=total)

    def start_at(self, steps: int) -> None:
        """Count steps that an earlier run has done already."""
        self._shown.update(self._task, completed=steps)
