"""The summary table's numbers, and the order of cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vsuda_cli.report.model import ReportCase


@dataclass(frozen=True)
class SummaryRow:
    """One structure and metric over all cases that have a value; `count` tells how many."""

    structure: str
    metric: str
    count: int
    mean: float
    sd: float
    median: float
    lower_quartile: float
    upper_quartile: float


def column(structure: str, metric: str) -> str:
    """Return the name of a score column, as score files have it."""
    return f"{structure}_{metric}"


def values_of(cases: Sequence[ReportCase], name: str) -> list[float]:
    """Return a column's defined values."""
    found = (case.scores.get(name) for case in cases)
    return [value for value in found if value is not None]


def summarise(
    cases: Sequence[ReportCase], structures: Sequence[str], metrics: Sequence[str]
) -> list[SummaryRow]:
    """Return one row per structure and metric; a column without any value has no row.

    The standard deviation divides by n - 1 and is 0 for one case.
    """
    rows = []
    for structure in structures:
        for metric in metrics:
            values = values_of(cases, column(structure, metric))
            if not values:
                continue
            low, middle, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            mean = float(np.mean(values))
            rows.append(SummaryRow(structure, metric, len(values), mean, sd, middle, low, high))
    return rows


def group_names(cases: Sequence[ReportCase]) -> list[str]:
    """Return the groups' names in order; none if the cases are not grouped."""
    return sorted({case.group for case in cases if case.group})


def in_group(cases: Sequence[ReportCase], name: str) -> list[ReportCase]:
    """Return the cases of one group, in their order."""
    return [case for case in cases if case.group == name]


def worst_first(
    cases: Sequence[ReportCase], structures: Sequence[str], metric: str
) -> list[ReportCase]:
    """Return failed cases, then the others by their mean of `metric` over the structures, rising.

    Cases with equal means, and those without any value (last), stand in the order of their names.
    """

    def key(case: ReportCase) -> tuple[int, float, str]:
        if case.failed:
            return 0, 0.0, case.case
        found = (case.scores.get(column(structure, metric)) for structure in structures)
        values = [value for value in found if value is not None]
        if not values:
            return 2, 0.0, case.case
        return 1, float(np.mean(values)), case.case

    return sorted(cases, key=key)
