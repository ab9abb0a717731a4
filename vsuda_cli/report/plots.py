"""The report's plots, as SVG to be put into the page."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

# Okabe and Ito's palette: told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
SPREAD = 0.16
LINEAR_BELOW = 1.0
# Text stays text, and ids come from the content alone: the same scores give the same bytes.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "vsuda", "font.size": 9.0}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
CARD_LINK = "#case-"


@dataclass(frozen=True)
class Point:
    """One case in a plot: the number of its card, its value, and where it stands across."""

    card: int
    value: float
    x: float = 0.0


def box_plot(
    name: str, ylabel: str, groups: Sequence[tuple[str, Sequence[Point]]], unit_range: bool
) -> str:
    """Return boxes with every case as a point that links to its card, one box per group.

    Boxes span the quartiles, whiskers the values within 1.5 times their distance. `name` makes
    the SVG's ids unique in the page. `unit_range` fixes the axis to 0..1; otherwise it starts at
    0 and is logarithmic above LINEAR_BELOW.
    """
    with mpl.rc_context(STYLE):
        figure, axes = figure_and_axes(2.2 + 0.9 * len(groups), 3.2)
        for position, (_, points) in enumerate(groups):
            values = [point.value for point in points]
            if values:
                axes.boxplot(
                    [values],
                    positions=[position],
                    widths=0.5,
                    showfliers=False,
                    medianprops={"color": "black", "linewidth": 1.6},
                )
            spread = np.random.default_rng(position).uniform(-SPREAD, SPREAD, len(values))
            placed = [
                Point(point.card, point.value, position + float(shift))
                for point, shift in zip(points, spread, strict=True)
            ]
            _scatter(axes, placed, position, None)
        axes.set_xticks(range(len(groups)))
        axes.set_xticklabels([group for group, _ in groups], parse_math=False)
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_ylabel(ylabel, parse_math=False)
        _limits(axes, unit_range=unit_range)
        return to_svg(figure, name)


def scatter_plot(
    name: str, xlabel: str, ylabel: str, groups: Sequence[tuple[str, Sequence[Point]]]
) -> str:
    """Return values in 0..1 against `Point.x` on a logarithmic axis.

    Each group has its own colour and mark.
    """
    with mpl.rc_context(STYLE):
        figure, axes = figure_and_axes(4.6, 3.2)
        for position, (group, points) in enumerate(groups):
            _scatter(axes, points, position, group)
        if any(points for _, points in groups):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            legend = axes.legend(frameon=False, loc="best")
            for text in legend.get_texts():
                text.set_parse_math(False)
        axes.set_xlabel(xlabel, parse_math=False)
        axes.set_ylabel(ylabel, parse_math=False)
        _limits(axes, unit_range=True)
        return to_svg(figure, name)


def figure_and_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of so many inches, in the reports' look."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _scatter(axes: Axes, points: Sequence[Point], number: int, label: str | None) -> None:
    if not points:
        return
    marks = axes.scatter(
        [point.x for point in points],
        [point.value for point in points],
        s=22,
        color=COLOURS[number % len(COLOURS)],
        marker=MARKERS[number % len(MARKERS)],
        alpha=0.75,
        linewidths=0,
        label=label,
        zorder=3,
    )
    marks.set_urls([f"{CARD_LINK}{point.card}" for point in points])


def _limits(axes: Axes, *, unit_range: bool) -> None:
    if unit_range:
        axes.set_ylim(-0.03, 1.03)
    else:
        # The challenge's 350 mm for a missed structure would flatten all other distances.
        axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
        axes.yaxis.set_major_formatter("{x:g}")
        # Room for whole marks at both ends; the scale is linear around 0.
        low, high = axes.dataLim.y0, axes.dataLim.y1
        if np.isfinite([low, high]).all():
            axes.set_ylim(-0.05 if low >= 0 else 1.3 * low - 0.1, 1.3 * max(high, 0) + 0.1)


def to_svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG element; `name` makes its ids unique in the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=NO_METADATA)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    # Several plots share a page: their ids must differ, their links to cards must not change.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r'href="#(?!case-)', f'href="#{name}-', text)
    # The table's links serve the keyboard; a stop at every point would only be in its way.
    link = f'xlink:href="{CARD_LINK}'
    return text.replace(link, f'tabindex="-1" {link}')
