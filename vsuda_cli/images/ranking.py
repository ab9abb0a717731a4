"""The challenge's ranking of teams, and how stable it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vsuda_cli.errors import VsudaError

# Metrics that a ranking can use; True where more is better.
MORE_IS_BETTER = {"Dice": True, "SurfaceDice": True, "ASSD": False, "HD95": False}
# Ranks that differ only beyond these are equal: sums of thirds and sixths are not exact.
DECIMALS = 9

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Stability:
    """Ranking over resampled cases: each team's places (2.5th, 97.5th percentile) and Kendall's tau
    (mean, 2.5th percentile) between a resample's order and the whole set's."""

    places: NDArray[np.float64]
    tau_mean: float
    tau_low: float


def min_ranks(values: Table, more_is_better: bool) -> Table:
    """Rank teams within each case: `values` (cases, teams), 1 is best, equal ones share the best.

    A case in which any team lacks a value (NaN) has no ranks.
    """
    ranks = stats.rankdata(-values if more_is_better else values, method="min", axis=1)
    found: Table = ranks.astype(np.float64)
    return found


def case_ranks(scores: Mapping[str, Table]) -> Table:
    """Return each case's cumulative rank (cases, teams): the mean of its ranks over all columns.

    `scores` holds a table (cases, teams) for each column `<structure>_<metric>`. Cases in which
    no column is defined are left out; raises VsudaError if that leaves none.
    """
    ranks = np.stack(
        [min_ranks(table, MORE_IS_BETTER[metric_of(name)]) for name, table in scores.items()]
    )
    defined = ~np.isnan(ranks).all(axis=(0, 2))
    if not defined.any():
        raise VsudaError(", ".join(scores), "are defined in no case", "rank by other --metrics")
    cumulative: Table = np.nanmean(ranks[:, defined], axis=0)
    return cumulative


def mean_ranks(scores: Mapping[str, Table]) -> NDArray[np.float64]:
    """Return the teams' mean cumulative rank over the cases; the lowest is the winner's."""
    return _mean(case_ranks(scores))


def metric_of(column: str) -> str:
    """Return the metric of a column `<structure>_<metric>`."""
    return column.rpartition("_")[2]


def structure_of(column: str) -> str:
    """Return the structure of a column `<structure>_<metric>`."""
    return column.rpartition("_")[0]


def bootstrap(per_case: Table, resamples: int, seed: int) -> Stability:
    """Rank resampled cases (with replacement); `per_case` (cases, teams) as case_ranks gives it."""
    generator = np.random.default_rng(seed)
    whole = _mean(per_case)
    places, taus = [], []
    for _ in range(resamples):
        drawn = _mean(per_case[generator.integers(len(per_case), size=len(per_case))])
        places.append(stats.rankdata(drawn, method="min"))
        tau = float(stats.kendalltau(whole, drawn).statistic)
        # Where all tie there is no order that could agree with another one.
        taus.append(0.0 if np.isnan(tau) else tau)
    bounds = np.percentile(np.stack(places), (2.5, 97.5), axis=0).T
    return Stability(bounds, float(np.mean(taus)), float(np.percentile(taus, 2.5)))


def wilcoxon_holm(per_case: Table) -> Table:
    """Return p values (teams, teams) of the Wilcoxon signed-rank test between teams' case ranks.

    Two-sided, paired by case, corrected by Holm over all pairs; NaN on the diagonal, 1 where two
    teams never differ.
    """
    teams = per_case.shape[1]
    pairs = [(a, b) for a in range(teams) for b in range(a + 1, teams)]
    raw = [_wilcoxon(per_case[:, a] - per_case[:, b]) for a, b in pairs]
    table = np.full((teams, teams), np.nan)
    for (a, b), p in zip(pairs, holm(raw), strict=True):
        table[a, b] = table[b, a] = p
    return table


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for multiple tests (Holm 1979)."""
    adjusted = [0.0] * len(values)
    highest = 0.0
    order = sorted(range(len(values)), key=lambda index: values[index])
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = highest
    return adjusted


def _mean(per_case: Table) -> NDArray[np.float64]:
    means: NDArray[np.float64] = per_case.mean(axis=0).round(DECIMALS)
    return means


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    # Its test ranks their sizes, and equal ones share a rank.
    differences = differences.round(DECIMALS)
    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
