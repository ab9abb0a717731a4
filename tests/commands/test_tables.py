"""Tables on stdout: nothing is cut off in a pipe, markup in names is shown as it is."""

import math

from vsuda_cli.commands.tables import number, print_table


def test_wide_tables_keep_every_cell(capsys):
    head = ["team", *(f"column number {n}" for n in range(12))]
    print_table("[b]A title[/b]", head, [["[red]team", *(f"{n}.123456789" for n in range(12))]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[b]A title[/b]"
    assert lines[1].split()[:4] == ["team", "column", "number", "0"]
    assert lines[3].split() == ["[red]team", *(f"{n}.123456789" for n in range(12))]


def test_numbers():
    assert [number(0.12345), number(2, 1), number(None), number(math.nan)] == [
        "0.123",
        "2.0",
        "-",
        "-",
    ]
