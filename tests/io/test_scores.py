"""Score files: exact round trip, the challenge's layout, and every damage named."""

from pathlib import Path

import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.scores import read_scores, score_table

ROWS = {
    "b": {"VS_Dice": 0.1 + 0.2, "VS_ASSD": None},
    'a, "quoted"': {"VS_Dice": 1 / 3, "VS_ASSD": 350.0},
}


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "our team.csv"
    path.write_text(score_table(["VS_Dice", "VS_ASSD"], ROWS))
    assert path.read_text().splitlines()[0] == "case,VS_Dice,VS_ASSD"
    assert path.read_text().splitlines()[2] == "b,0.30000000000000004,"
    (team,) = read_scores(path)
    assert team.team == "our team"
    assert team.columns == ("VS_Dice", "VS_ASSD")
    assert team.rows == ROWS


def test_the_challenges_layout_holds_several_teams(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("\ufeffCase,VS_Dice,Team\r\n1,0.5,x\r\n2,nan,x\r\n1,0.7,y\r\n\r\n")
    x, y = read_scores(path)
    assert (x.team, x.rows) == ("x", {"1": {"VS_Dice": 0.5}, "2": {"VS_Dice": None}})
    assert (y.team, y.rows) == ("y", {"1": {"VS_Dice": 0.7}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("case,VS_Dice\n", "no cases"),
        ("name,VS_Dice\na,1\n", "no column `case`"),
        ("case,VS_Dice,VS_Dice\na,1,1\n", "twice"),
        ("case,VS_Dice\na,1\na,1\n", "case a twice"),
        ("case,VS_Dice\na,1,2\n", "3 cells in line 2"),
        ("case,VS_Dice\n\n\na,1,2\n", "3 cells in line 4"),
        ("case,VS_Dice\n\na,good\n", "line 3, VS_Dice: holds 'good'"),
        ("case,VS_Dice\na,good\n", "line 2, VS_Dice: holds 'good'"),
        ("case,VS_Dice\na,inf\n", "holds 'inf'"),
        ("case\x00\xff", "no column"),
    ],
)
def test_damage_is_named(tmp_path, text, message):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(VsudaError, match=message):
        read_scores(path)


def test_unreadable_files_are_named(tmp_path):
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "none.csv", tmp_path, binary):
        with pytest.raises(VsudaError, match="cannot be read"):
            read_scores(Path(path))
