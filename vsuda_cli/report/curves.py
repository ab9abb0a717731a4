"""Curves over epochs, as SVG to be put into a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from vsuda_cli.report.plots import COLOURS, STYLE, figure_and_axes, to_svg

# Values that all lie above 0 and span more than this factor get a logarithmic axis.
WIDE_RANGE = 50.0
# Up to so many epochs each is marked by a point.
FEW_EPOCHS = 30


@dataclass(frozen=True)
class Curve:
    """A named line through (epoch, value) points."""

    name: str
    points: Sequence[tuple[float, float]]


def curve_plot(name: str, ylabel: str, curves: Sequence[Curve], best_epoch: int | None) -> str:
    """Return the curves over epochs; `best_epoch` is marked if given.

    `name` makes the SVG's ids unique in the page. The same curves give the same bytes.
    """
    with mpl.rc_context(STYLE):
        figure, axes = figure_and_axes(3.9, 2.5)
        for number, curve in enumerate(curves):
            epochs, values = [p[0] for p in curve.points], [p[1] for p in curve.points]
            axes.plot(
                epochs,
                values,
                color=COLOURS[number % len(COLOURS)],
                linewidth=1.4,
                marker="o" if len(values) <= FEW_EPOCHS else None,
                markersize=3,
                label=curve.name,
            )
        if best_epoch is not None:
            axes.axvline(best_epoch, color="#444", linewidth=0.9, linestyle="--", label="best")
        everything = [value for curve in curves for _, value in curve.points]
        if min(everything) > 0 and max(everything) > WIDE_RANGE * min(everything):
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(ylabel, parse_math=False)
        if len(curves) > 1 or best_epoch is not None:
            for text in axes.legend(frameon=False, loc="best").get_texts():
                text.set_parse_math(False)
        return to_svg(figure, name)
