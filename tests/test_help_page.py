"""Every command's help has one style, and nothing in it is cut."""

import re
from typing import Any

import pytest
import typer
from command_line import run
from typer.main import get_command

from vsuda_cli import cli
from vsuda_cli.help_page import HelpfulCommand, is_argument, page, type_of

PROGRAM: Any = get_command(cli.app)
NAMES = ["", *PROGRAM.commands]
every = pytest.mark.parametrize("name", NAMES)
commands = pytest.mark.parametrize("name", list(PROGRAM.commands))
# What may stand for a value, besides a|b|c.
TYPES = {
    "DIR",
    "FILE",
    "INT",
    "FLOAT",
    "TEXT",
    "MM",
    "MM3",
    "VOXELS",
    "ADDRESS",
    "COLUMN",
    "NAME,...",
}
TYPES |= {"I/N", "X,Y,Z", "KEY=VALUE"}


def shown(name: str, monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run([*([name] if name else []), "-h"])
    assert (result.code, result.err) == (0, "")
    return result.out


def parameters(name: str) -> list[Any]:
    command = PROGRAM.commands[name] if name else PROGRAM
    found: list[Any] = command.get_params(typer.Context(command))
    return found


@every
@pytest.mark.parametrize("columns", [80, 100])
def test_no_name_is_cut(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(name, monkeypatch, columns)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns
    words = set(re.split(r"[\s,│]+", text))
    for parameter in parameters(name):
        if not is_argument(parameter):
            assert {*parameter.opts, *parameter.secondary_opts} <= words


@commands
def test_types_are_of_few_kinds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(name, monkeypatch)
    for parameter in parameters(name):
        if is_argument(parameter):
            continue
        kind = type_of(parameter)
        if parameter.is_flag or parameter.count:
            assert kind == ""
        else:
            assert kind in TYPES or "|" in kind
        for part in kind.replace("|", "|\n").splitlines():
            assert part in text
    assert not re.search(r"<(bool|str|path|int|float|list)|BOOLEAN|INTEGER|PATH", text)


@commands
def test_arguments_are_words_in_capitals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(name, monkeypatch)
    usage = re.findall(r"Usage: vsuda (.*)", text)
    assert len(usage) == 1
    said, options, *words = usage[0].split()
    assert (said, options) == (name, "[OPTIONS]")
    assert len(words) == len([p for p in parameters(name) if is_argument(p)])
    for word in words:
        assert re.fullmatch(r"[A-Z]+(\.csv)?(\.\.\.)?", word)
        assert re.search(rf"│ {re.escape(word)} +(DIR|FILE)  ", text)
    # An error shows the same.
    assert f"Usage: vsuda {usage[0]}" in run([name]).err


@commands
def test_defaults_have_one_style(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", shown(name, monkeypatch, 200)).split())
    assert "default: (" not in text
    for parameter in parameters(name):
        if not is_argument(parameter) and isinstance(parameter.show_default, str):
            assert f"default: {parameter.show_default}]" in text


def page_of(function: Any) -> str:
    app = typer.Typer()
    app.command(cls=HelpfulCommand)(function)
    command: Any = get_command(app)
    return page(command, typer.Context(command, info_name="work"))


def test_a_page_says_what_an_option_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")

    def work(
        count: int = typer.Option(3, "--count", "-c", metavar="INT", min=1, max=9, help="[Many]."),
        given: str = typer.Option(..., "--given", help="Must be."),
        on: bool = typer.Option(True, "--on/--off", help="Switch."),
        quiet: bool = typer.Option(False, "--quiet", help="Flag."),
        choice: str = typer.Option("", metavar="first-choice|second-choice|third", help="One."),
        hidden: bool = typer.Option(False, "--secret", hidden=True),
    ) -> None:
        """Work.

        A paragraph in
        two lines.
        """

    text = page_of(work)
    assert " Work.\n\n A paragraph in two lines.\n" in text
    assert re.search(
        r"│ -c, --count +INT +\[Many\]. \[at least 1; at most 9; default: 3\] +│", text
    )
    assert re.search(r"│     --given +TEXT +Must be. \[required\] +│", text)
    assert re.search(r"│     --on +Switch. \[default: --on\] +│\n│     --off ", text)
    assert re.search(r"│     --quiet +Flag. +│", text)
    assert re.search(r"first-choice\| +One. +│\n│ +second-choice\| +│\n│ +third +│", text)
    assert "secret" not in text
