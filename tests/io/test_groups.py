"""Groups of cases: from the challenge's names, or from a table."""

from pathlib import Path

import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.groups import read_groups, sites


def test_the_challenges_names_tell_the_site() -> None:
    names = ["crossmoda2021_ldn_12", "crossmoda2022_etz_7_R", "crossMoDA2023_UKM_1_L"]
    assert list(sites(names).values()) == ["ldn", "etz", "ukm"]
    for other in ("case_1", "crossmoda2021_12", "crossmoda2021_ldn_12_hrT2"):
        with pytest.raises(VsudaError, match="--groups"):
            sites([other])


def test_any_column_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text('case,site,scanner\na,ldn,"1.5 T, old"\nb,etz,3 T\nc,etz,\n')
    assert read_groups(path, "site", ["b", "a"]) == {"b": "etz", "a": "ldn"}
    assert read_groups(path, "scanner", ["a"]) == {"a": "1.5 T, old"}
    for column, case, message in (
        ("age", "a", "no column `age`; .* site, scanner"),
        ("scanner", "c", "no scanner for case c"),
        ("site", "d", "no site for case d"),
    ):
        with pytest.raises(VsudaError, match=message):
            read_groups(path, column, [case])


def test_broken_tables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    for text, message in (
        ("site\nx\n", "no column `case`"),
        ("case,site\na,x\na,y\n", "case a twice"),
        ("case,site\na\n", "1 cells in line 2"),
        ("", "is empty"),
    ):
        path.write_text(text)
        with pytest.raises(VsudaError, match=message):
            read_groups(path, "site", ["a"])
