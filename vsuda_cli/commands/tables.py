"""Tables on stdout, for the commands whose data is a table."""

import shutil
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Where stdout is a file or a pipe nobody wraps lines: columns keep their full width.
WIDE = 400


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout; the first column is text, the others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(head):
        table.add_column(Text(name), justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    console = Console(file=sys.stdout, width=width, highlight=False)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)
    console.print()


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table, a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"
