"""Which group a case belongs to: its site, or any column of a table."""

import re
from collections.abc import Sequence
from pathlib import Path

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.scores import CASE, read_table

SITE = "site"
# crossMoDA's names tell the site: crossmoda2022_etz_12, of a crop crossmoda2022_etz_12_R.
_CHALLENGE_NAME = re.compile(r"crossmoda\d{4}_([a-z]+)_\d+(?:_[RL])?", re.IGNORECASE)


def read_groups(path: Path, column: str, cases: Sequence[str]) -> dict[str, str]:
    """Return the group of each case from a CSV file with columns `case` and `column`.

    Raises VsudaError if the file cannot be read, lacks a column, or does not name a case once.
    """
    names, lines = read_table(path)
    if CASE not in names or column not in names:
        missing = CASE if CASE not in names else column
        remedy = f"add it, or choose with --by one of {', '.join(n for n in names if n != CASE)}"
        raise VsudaError(path, f"has no column `{missing}`", remedy)
    case_at, group_at = names.index(CASE), names.index(column)
    groups: dict[str, str] = {}
    for _, cells in lines:
        case = cells[case_at].strip()
        if case in groups:
            raise VsudaError(path, f"has case {case} twice", "keep one row")
        groups[case] = cells[group_at].strip()
    for case in cases:
        if not groups.get(case):
            raise VsudaError(path, f"has no {column} for case {case}", "add it to the file")
    return {case: groups[case] for case in cases}


def sites(cases: Sequence[str]) -> dict[str, str]:
    """Return each case's site from its name, as crossMoDA names cases.

    Raises VsudaError for a case that is named in another way.
    """
    found = {}
    for case in cases:
        match = _CHALLENGE_NAME.fullmatch(case)
        if match is None:
            remedy = "give a table of cases and sites with --groups FILE.csv"
            raise VsudaError(case, "does not tell its site as crossmoda2022_etz_12 does", remedy)
        found[case] = match.group(1).lower()
    return found
