"""One self-contained HTML file from scores and pictures."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from vsuda_cli.errors import counted
from vsuda_cli.io.atomic import write_text
from vsuda_cli.report.model import Report, ReportCase
from vsuda_cli.report.plots import LINEAR_BELOW, Point, box_plot, scatter_plot
from vsuda_cli.report.summary import column, group_names, in_group, summarise, worst_first

# The metric that cases are ordered by.
OVERLAP = "Dice"
BETWEEN_0_AND_1 = (OVERLAP, "SurfaceDice")
# Whole numbers of components: shown as such, and in no plot.
COUNTS = ("Found", "Missed", "False")


def write_report(path: Path, report: Report) -> None:
    """Write a report to `path`, whole or not at all.

    The file loads nothing from elsewhere, every name in it is escaped, and the same report gives
    the same bytes.
    """
    write_text(path, render(report))


def render(report: Report) -> str:
    """Return the report's HTML; see write_report."""
    cases = worst_first(report.cases, report.structures, OVERLAP)
    groups = group_names(cases)
    tables = [("", summarise(cases, report.structures, report.metrics))]
    for name in groups:
        some = in_group(cases, name)
        failed = sum(case.failed for case in some)
        title = f"{report.group_column} {name}: {counted(len(some), 'case')}"
        title += f", {failed} failed" if failed else ""
        tables.append((title, summarise(some, report.structures, report.metrics)))
    columns = [
        (column(structure, metric), f"{structure} {metric}{report.units.get(metric, '')}", metric)
        for structure in report.structures
        for metric in report.metrics
    ]
    values: dict[str, Any] = {
        "report": report,
        "columns": columns,
        "cases": cases,
        "groups": groups,
        "failed": [case for case in cases if case.failed],
        "tables": tables,
        "plots": _plots(report, cases),
    }
    scripts = ("results.js", "viewer.js") if report.viewer else ("results.js",)
    return fill("results.html", scripts, values)


def fill(template: str, scripts: Sequence[str], values: dict[str, Any]) -> str:
    """Return a template of this package filled in, with the common style and its own scripts."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    folder = files("vsuda_cli.report")
    page, style, *codes = (
        folder.joinpath(name).read_text(encoding="utf-8")
        for name in (template, "style.css", *scripts)
    )
    # Our own files: nothing in them is anyone's input.
    return environment.from_string(page).render(
        values, style=Markup("\n" + style), script=Markup("\n" + "".join(codes))
    )


def _plots(report: Report, cases: Sequence[ReportCase]) -> list[tuple[str, Markup]]:
    """Return the plots with their titles; matplotlib has escaped the text in them."""
    plots = []
    for number, metric in enumerate(m for m in report.metrics if m not in COUNTS):
        groups = [(s, _points(cases, s, metric)) for s in report.structures]
        unit_range = metric in BETWEEN_0_AND_1
        label = metric + report.units.get(metric, "")
        if not unit_range:
            label += f"; logarithmic above {LINEAR_BELOW:g}"
        svg = box_plot(f"box{number}", label, groups, unit_range)
        plots.append((f"{metric} per structure", svg))
    if report.with_references:
        against_volume = [(s, _points_by_volume(cases, s)) for s in report.structures]
        if any(points for _, points in against_volume):
            svg = scatter_plot("volume", "reference volume (ml)", OVERLAP, against_volume)
            plots.append((f"{OVERLAP} against reference volume", svg))
    return [(title, Markup(svg)) for title, svg in plots]


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
        volume = case.drawing.volumes_ml.get(structure, 0.0) if case.drawing else 0.0
        # A logarithmic axis has no place for a structure that is not there.
        if value is not None and volume > 0:
            points.append(Point(card, value, volume))
    return points


def _number(value: float | None, metric: str = "") -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if metric in COUNTS else f"{value:.3f}"
