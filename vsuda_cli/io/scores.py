"""Score files: one row per case, columns `<structure>_<metric>`, an empty cell where undefined."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsuda_cli.errors import VsudaError

CASE = "case"
TEAM = "team"

Row = Mapping[str, float | None]


@dataclass(frozen=True)
class TeamScores:
    """One team's or model's scores: `rows[case][column]`, None where a metric is not defined."""

    team: str
    columns: tuple[str, ...]
    rows: dict[str, dict[str, float | None]]


def score_table(columns: Sequence[str], rows: Mapping[str, Row]) -> str:
    """Return scores in full precision, sorted by case, as the text of a CSV file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([CASE, *columns])
    for case in sorted(rows):
        cells = [rows[case].get(column) for column in columns]
        writer.writerow([case, *("" if cell is None else repr(float(cell)) for cell in cells)])
    return stream.getvalue()


def read_scores(path: Path) -> list[TeamScores]:
    """Read a score file: our own (the team is the file's stem), or with a column `Team`.

    Raises VsudaError for a file that cannot be read, lacks the column `case`, holds a case twice
    for one team, or a cell that is no number.
    """
    names, lines = read_table(path)
    lowered = [name.lower() for name in names]
    if CASE not in lowered:
        raise VsudaError(path, "has no column `case`", "give a file written by vsuda evaluate")
    if len(set(lowered)) < len(lowered):
        raise VsudaError(path, "names a column twice", "rename or remove one")
    case_at = lowered.index(CASE)
    team_at = lowered.index(TEAM) if TEAM in lowered else None
    columns = tuple(n for at, n in enumerate(names) if at not in (case_at, team_at))
    teams: dict[str, dict[str, dict[str, float | None]]] = {}
    for number, cells in lines:
        team = path.stem if team_at is None else cells[team_at].strip()
        values = [cell for at, cell in enumerate(cells) if at not in (case_at, team_at)]
        rows = teams.setdefault(team, {})
        case = cells[case_at].strip()
        if case in rows:
            raise VsudaError(path, f"has case {case} twice for {team}", "keep one row")
        rows[case] = {
            column: _number(cell, f"{path}: line {number}, {column}")
            for column, cell in zip(columns, values, strict=True)
        }
    if not teams:
        raise VsudaError(path, "holds no cases", "give a file with one row per case")
    return [TeamScores(team, columns, rows) for team, rows in teams.items()]


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return a CSV file's column names, and its rows with the number of the line they end in.

    Blank lines are left out. Raises VsudaError if the file cannot be read or is empty, or if a row
    has more or fewer cells than there are columns.
    """
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VsudaError(path, f"cannot be read ({error})", "give a CSV file") from error
    if not rows:
        raise VsudaError(path, "is empty", "give a CSV file with a header")
    (_, header), *lines = rows
    for number, cells in lines:
        if len(cells) != len(header):
            problem = f"has {len(cells)} cells in line {number} but {len(header)} columns"
            raise VsudaError(path, problem, "repair the file")
    return [name.strip() for name in header], lines


def _number(cell: str, where: str) -> float | None:
    if not cell.strip() or cell.strip().lower() == "nan":
        return None
    try:
        value = float(cell)
    except ValueError as error:
        raise VsudaError(where, f"holds {cell!r}", "write a number or leave it empty") from error
    if not math.isfinite(value):
        raise VsudaError(where, f"holds {cell!r}", "write a number or leave it empty")
    return value
