"""Joining teams' scores into tables."""

import numpy as np
import pytest

from vsuda_cli.commands.leaderboard import join, show_board
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.scores import TeamScores

BOTH = ("Dice", "ASSD")


def team(name, **cases):
    rows = {case: {"VS_Dice": dice, "VS_ASSD": assd} for case, (dice, assd) in cases.items()}
    return TeamScores(name, ("VS_Dice", "VS_ASSD"), rows)


def test_tables_are_cases_by_teams_whatever_the_files_order():
    tables = join(
        [team("x", a=(0.1, 1), b=(0.2, None)), team("y", b=(0.4, None), a=(0.3, 2))], BOTH
    )
    assert tables["VS_Dice"].tolist() == [[0.1, 0.3], [0.2, 0.4]]
    assert tables["VS_ASSD"][0].tolist() == [1, 2]
    assert np.isnan(tables["VS_ASSD"][1]).all()


def test_a_value_that_one_team_lacks_is_named():
    with pytest.raises(VsudaError, match="y, a: has no VS_ASSD"):
        join([team("x", a=(0.1, 1)), team("y", a=(0.3, None))], BOTH)


def test_a_mean_over_no_case_is_a_dash(capsys):
    tables = join([team("x", a=(0.1, None))], BOTH)
    show_board(["x"], tables, {"VS_Dice": tables["VS_Dice"]}, parts=False, as_json=False)
    assert capsys.readouterr().out.splitlines()[3].split() == ["x", "1", "1.000", "0.1000", "-"]


def test_columns_that_do_not_decide_may_be_one_teams_alone():
    more = TeamScores("y", ("VS_Dice", "VS_HD95"), {"a": {"VS_Dice": 0.3, "VS_HD95": 2.0}})
    tables = join([team("x", a=(0.1, 1)), more], ["Dice"])
    assert list(tables) == ["VS_Dice"]
    with pytest.raises(VsudaError, match=r"y: and x have different columns \(VS_ASSD\)"):
        join([team("x", a=(0.1, 1)), more], BOTH)
