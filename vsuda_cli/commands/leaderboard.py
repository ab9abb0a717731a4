"""What `rank` shows: the board, its stability, and tests between teams."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vsuda_cli import console
from vsuda_cli.commands.tables import number, print_table
from vsuda_cli.errors import VsudaError, counted
from vsuda_cli.images import ranking

if TYPE_CHECKING:
    from vsuda_cli.io.scores import TeamScores


def join(teams: "Sequence[TeamScores]", wanted: Sequence[str]) -> dict[str, ranking.Table]:
    """Return a table (cases, teams) for each column that all teams have; NaN where not defined.

    Raises VsudaError if a team occurs twice, teams have different cases, or, of a metric that is
    `wanted`, different columns, or values for one team and not for another in the same case.
    """
    first = teams[0]
    seen: set[str] = set()
    for team in teams:
        if team.team in seen:
            raise VsudaError(team.team, "is the name of two teams", "rename one score file")
        seen.add(team.team)
        differing = sorted(set(team.rows) ^ set(first.rows))
        if differing:
            shown = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
            raise VsudaError(
                team.team,
                f"and {first.team} have different cases ({len(differing)}: {shown})",
                "score all teams on the same references",
            )
        differing = sorted(set(team.columns) ^ set(first.columns))
        differing = [column for column in differing if ranking.metric_of(column) in wanted]
        if differing:
            problem = f"and {first.team} have different columns ({', '.join(differing)})"
            raise VsudaError(team.team, problem, "score all teams alike")
    tables = {}
    for column in first.columns:
        if not all(column in team.columns for team in teams):
            continue
        cells = [[team.rows[case][column] for team in teams] for case in sorted(first.rows)]
        table = np.array(cells, dtype=np.float64)
        missing = np.isnan(table)
        partly = missing.any(axis=1) & ~missing.all(axis=1)
        if partly.any() and ranking.metric_of(column) in wanted:
            row = int(partly.argmax())
            case = sorted(first.rows)[row]
            team_name = teams[int(missing[row].argmax())].team
            raise VsudaError(
                f"{team_name}, {case}",
                f"has no {column}, but another team has",
                "score all teams on the same references",
            )
        tables[column] = table
    return tables


def show_board(
    names: Sequence[str],
    tables: Mapping[str, ranking.Table],
    deciding: Mapping[str, ranking.Table],
    *,
    parts: bool,
    as_json: bool,
) -> None:
    """Print place, team, mean rank and the mean of every column, best first."""
    mean_rank = ranking.mean_ranks(deciding)
    order = [int(at) for at in np.argsort(mean_rank, kind="stable")]
    places = ranking.min_ranks(mean_rank[None], more_is_better=False)[0]
    means = {name: _column_means(table) for name, table in tables.items()}
    by_part = {part: ranking.mean_ranks(some) for part, some in _parts(deciding).items()}
    if as_json:
        for at in order:
            record: dict[str, Any] = {
                "place": int(places[at]),
                "team": names[at],
                "mean_rank": float(mean_rank[at]),
                "means": {name: _plain(values[at]) for name, values in means.items()},
            }
            if parts:
                record["parts"] = {part: float(ranks[at]) for part, ranks in by_part.items()}
            console.emit_json(record)
        return
    cases = len(next(iter(deciding.values())))
    rows = [
        [names[at], str(int(places[at])), number(float(mean_rank[at]))]
        + [number(float(values[at]), 4) for values in means.values()]
        for at in order
    ]
    print_table(counted(cases, "case"), ["team", "place", "mean rank", *means], rows)
    if parts:
        rows = [[names[at], *(number(float(r[at])) for r in by_part.values())] for at in order]
        print_table("Mean rank by structure and by metric", ["team", *by_part], rows)


def show_stability(
    names: Sequence[str],
    deciding: Mapping[str, ranking.Table],
    resamples: int,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Print the places that teams take when the cases are drawn again, and Kendall's tau."""
    found = ranking.bootstrap(ranking.case_ranks(deciding), resamples, seed)
    places = {name: [float(x) for x in found.places[at]] for at, name in enumerate(names)}
    if as_json:
        tau = {"mean": found.tau_mean, "low": found.tau_low}
        console.emit_json({"resamples": resamples, "places": places, "kendall_tau": tau})
        return
    rows = [[name, number(low, 0), number(high, 0)] for name, (low, high) in places.items()]
    title = (
        f"Places in {resamples} resamples; Kendall's tau {found.tau_mean:.3f} on average, "
        f"{found.tau_low:.3f} at the 2.5th percentile"
    )
    print_table(title, ["team", "from", "to"], sorted(rows, key=lambda row: (float(row[1]), row)))


def show_tests(
    names: Sequence[str], deciding: Mapping[str, ranking.Table], *, as_json: bool
) -> None:
    """Print p values between all teams: Wilcoxon signed-rank on the cases' ranks, Holm."""
    p_values = ranking.wilcoxon_holm(ranking.case_ranks(deciding))
    if as_json:
        for a in range(len(names)):
            for b in range(a + 1, len(names)):
                console.emit_json({"teams": [names[a], names[b]], "p": float(p_values[a, b])})
        return
    order = [int(at) for at in np.argsort(ranking.mean_ranks(deciding), kind="stable")]
    rows = [[names[a], *(_p_value(p_values[a, b]) for b in order)] for a in order]
    head = ["", *(names[at] for at in order)]
    print_table("p, Wilcoxon signed-rank test with Holm's correction", head, rows)


def _p_value(value: float) -> str:
    return "-" if value != value else f"{value:.3g}"


def _parts(deciding: Mapping[str, ranking.Table]) -> dict[str, dict[str, ranking.Table]]:
    """Return the columns of each structure and of each metric."""
    parts: dict[str, dict[str, ranking.Table]] = {}
    for key in (ranking.structure_of, ranking.metric_of):
        for name, table in deciding.items():
            parts.setdefault(key(name), {})[name] = table
    return parts


def _column_means(table: ranking.Table) -> ranking.Table:
    """Return each team's mean over the cases where the metric is defined; NaN if in none."""
    defined = ~np.isnan(table)
    counts = np.maximum(defined.sum(axis=0), 1)
    sums = np.where(defined, table, 0).sum(axis=0)
    means: ranking.Table = np.where(defined.any(axis=0), sums / counts, np.nan)
    return means


def _plain(value: float) -> float | None:
    return None if value != value else float(value)
