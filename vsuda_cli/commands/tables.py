"""Tables: on stdout for the commands whose data is a table, on stderr for people."""

import shutil
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vsuda_cli.console import emit_line, err

# Where the stream is a file or a pipe nobody wraps lines: columns keep their full width.
WIDE = 400


def print_table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text_columns: int = 1,
    to_stderr: bool = False,
) -> None:
    """Print a table to stdout, where it is the data, or to stderr, where --quiet silences it.

    The first `text_columns` are text, which folds on a narrow terminal but for the first column;
    the others are numbers.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(head):
        if index < text_columns:
            table.add_column(Text(name), no_wrap=index == 0, overflow="fold")
        else:
            table.add_column(Text(name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    stream = sys.stderr if to_stderr else sys.stdout
    width = shutil.get_terminal_size().columns if stream.isatty() else WIDE
    console = Console(file=stream, width=width, highlight=False)
    with console.capture() as shown:
        console.print(Text(title, style="bold"), soft_wrap=True)
        console.print(table)
    if not to_stderr:
        emit_line(shown.get())
    elif not err.quiet:
        stream.write(shown.get() + "\n")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table, a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"
