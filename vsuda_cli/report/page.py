"""One self-contained HTML file from scores and pictures."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vsuda_cli.io.atomic import write_text
from vsuda_cli.report.model import ReportCase
from vsuda_cli.report.plots import LINEAR_BELOW, Point, box_plot, scatter_plot
from vsuda_cli.report.summary import column, summarise, worst_first

TEMPLATE = "template.html"
# The metric that cases are ordered by and that lies between 0 and 1.
OVERLAP = "Dice"


def write_report(
    path: Path,
    title: str,
    structures: Sequence[str],
    metrics: Sequence[str],
    cases: Sequence[ReportCase],
    foot: Mapping[str, str],
) -> None:
    """Write the report of an evaluation to `path`, whole or not at all.

    Cases' scores are looked up as `<structure>_<metric>`; `metrics` holds `Dice`, by which the
    cases are ordered. `foot` is shown as it is: command, version, date. The file loads nothing
    from elsewhere, every name in it is escaped, and the same arguments give the same bytes.
    """
    write_text(path, render(title, structures, metrics, cases, foot))


def render(
    title: str,
    structures: Sequence[str],
    metrics: Sequence[str],
    cases: Sequence[ReportCase],
    foot: Mapping[str, str],
) -> str:
    """Return the report's HTML; see write_report."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    template = environment.from_string(
        files("vsuda_cli.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    )
    ordered = worst_first(cases, structures, OVERLAP)
    values: dict[str, Any] = {
        "title": title,
        "structures": structures,
        "columns": [column(s, m) for s in structures for m in metrics],
        "cases": ordered,
        "failed": [case for case in ordered if case.failed],
        "summary": summarise(cases, structures, metrics),
        # Our own SVG: matplotlib has escaped the text in it.
        "plots": [(name, Markup(svg)) for name, svg in _plots(structures, metrics, ordered)],
        "foot": foot,
    }
    return template.render(values)


def _plots(
    structures: Sequence[str], metrics: Sequence[str], cases: Sequence[ReportCase]
) -> list[tuple[str, str]]:
    plots = []
    for number, metric in enumerate(metrics):
        groups = [(s, _points(cases, s, metric)) for s in structures]
        label = f"{metric} (mm; logarithmic above {LINEAR_BELOW:g})" if metric == "ASSD" else metric
        svg = box_plot(f"box{number}", label, groups, metric == OVERLAP)
        plots.append((f"{metric} per structure", svg))
    against_volume = [(s, _points_by_volume(cases, s)) for s in structures]
    if any(points for _, points in against_volume):
        svg = scatter_plot("volume", "reference volume (ml)", OVERLAP, against_volume, True)
        plots.append((f"{OVERLAP} against reference volume", svg))
    return plots


def _points(cases: Sequence[ReportCase], structure: str, metric: str) -> list[Point]:
    points = []
    for card, case in enumerate(cases, start=1):
        value = case.scores.get(column(structure, metric))
        if value is not None:
            points.append(Point(card, value))
    return points


def _points_by_volume(cases: Sequence[ReportCase], structure: str) -> list[Point]:
    points = []
    for card, case in enumerate(cases, start=1):
        value = case.scores.get(column(structure, OVERLAP))
        volume = case.drawing.reference_ml.get(structure, 0.0) if case.drawing else 0.0
        # A logarithmic axis has no place for a structure that is not there.
        if value is not None and volume > 0:
            points.append(Point(card, value, volume))
    return points


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
