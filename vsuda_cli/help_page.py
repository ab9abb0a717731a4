"""How `--help` looks: one style of usage lines, names, types and defaults for all commands.

Typer's own pages give each option five columns, which leaves little for its text and cuts long
names in a terminal of 80 columns; how it shows types and defaults changes from release to release.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

NAME, TYPE, NOTE = "bold cyan", "bold yellow", "dim"
# Choices that are longer together stand on several lines.
WIDEST_TYPE = 16


class HelpfulCommand(TyperCommand):
    """A command whose page has our style."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return `[OPTIONS] IMAGES OUT`, as the guides write it."""
        return ["[OPTIONS]", *(argument_name(p) for p in self.params if is_argument(p))]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(page(self, ctx))


class HelpfulGroup(TyperGroup):
    """The program, whose page lists the commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(page(self, ctx))


def page(command: Any, ctx: Any) -> str:
    """Return the help of a command or of the program, as wide as the terminal is."""
    console = Console(highlight=False)
    with console.capture() as captured:
        usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
        console.print(Text.assemble("\n ", ("Usage: ", TYPE), (usage, "bold"), "\n"))
        _print_paragraphs(console, command.help)
        shown = [p for p in command.get_params(ctx) if not getattr(p, "hidden", False)]
        arguments = [_argument_row(p) for p in shown if is_argument(p)]
        _print_panel(console, "Arguments", arguments)
        _print_panel(console, "Options", [_option_row(p) for p in shown if not is_argument(p)])
        if isinstance(command, TyperGroup):
            _print_commands(console, command.commands.values())
        _print_paragraphs(console, command.epilog)
    return captured.get()


def is_argument(parameter: Any) -> bool:
    """Tell arguments from options."""
    return bool(parameter.param_type_name == "argument")


def argument_name(argument: Any) -> str:
    """Return an argument as usage lines name it: OUT, or PROBS... for several."""
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs != 1 else name


def type_of(option: Any) -> str:
    """Return what stands for an option's value, nothing for a flag."""
    return "" if option.is_flag or option.count else option.metavar or "TEXT"


def default_of(option: Any) -> str:
    """Return an option's value where it is not given, as it would be typed; empty without one."""
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag or option.count:
        # A flag that has no opposite is off.
        names = option.opts if option.default else option.secondary_opts
        return names[0] if option.secondary_opts else ""
    return "" if option.default in (None, "", [], ()) else str(option.default)


# What stands in the columns of a panel, the text last.
Row = tuple[Text, ...]


def _argument_row(argument: Any) -> Row:
    name = argument_name(argument)
    # All are folders but score files, which are named by their ending.
    kind = "FILE" if "." in name.removesuffix("...") else "DIR"
    return Text(name, NAME), Text(kind, TYPE), Text(argument.help or "")


def _option_row(option: Any) -> Row:
    short = [name for name in option.opts if not name.startswith("--")]
    # Long names stand below one another, an opposite (--no-...) under its flag.
    first = f"{short[0]}, " if short else "    "
    long = [name for name in option.opts if name.startswith("--")] + option.secondary_opts
    names = first + "\n    ".join(long)
    notes = []
    least, most = _limits(option)
    if least is not None and not option.count:
        notes.append(f"at least {least:g}")
    if most is not None:
        notes.append(f"at most {most:g}")
    if default_of(option):
        notes.append(f"default: {default_of(option)}")
    if option.required:
        notes.append("required")
    note = f" [{'; '.join(notes)}]" if notes else ""
    return (
        Text(names, NAME),
        Text(_on_lines(type_of(option)), TYPE),
        Text.assemble(option.help or "", (note, NOTE)),
    )


def _limits(option: Any) -> tuple[float | None, float | None]:
    # Older typers keep them in the option's type.
    holder = option if hasattr(option, "min") else option.type
    return getattr(holder, "min", None), getattr(holder, "max", None)


def _on_lines(kind: str) -> str:
    """Break a long a|b|c after some of its bars."""
    lines = [""]
    for part in kind.replace("|", "|\n").splitlines():
        if lines[-1] and len(lines[-1]) + len(part) > WIDEST_TYPE:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _print_commands(console: Console, commands: Iterable[Any]) -> None:
    panels: dict[str, list[Row]] = {}
    widest = max((len(command.name) for command in commands), default=0)
    for command in commands:
        summary = _paragraphs(command.help)[0]
        # Equal in width, so that the texts of all panels stand below one another.
        row = Text(command.name.ljust(widest), NAME), Text(summary)
        panels.setdefault(command.rich_help_panel or "Commands", []).append(row)
    for title, rows in panels.items():
        _print_panel(console, title, rows)


def _print_panel(console: Console, title: str, rows: list[Row]) -> None:
    if not rows:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in rows[0][:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(Panel(table, title=Text(title), title_align="left", border_style=NOTE))


def _print_paragraphs(console: Console, text: str | None) -> None:
    for paragraph in _paragraphs(text or ""):
        for line in Text(paragraph).wrap(console, max(1, console.width - 2)):
            line.rstrip()
            console.print(Text(" ") + line)
        console.print()


def _paragraphs(text: str) -> list[str]:
    """Return paragraphs, each as one line."""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
