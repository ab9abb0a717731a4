"""Curves as SVG inside the page."""

from xml.etree import ElementTree

from vsuda_cli.report.curves import Curve, curve_plot

FALLING = Curve("<b>$loss$", [(1, 100.0), (2, 1.0), (3, 0.5)])
LEVEL = Curve("other", [(1, 0.4), (3, 0.6)])


def test_curves_are_well_formed_named_and_the_same_twice() -> None:
    first, second = (curve_plot("c", "loss", [FALLING, LEVEL], 3) for _ in range(2))
    assert first == second
    ElementTree.fromstring(first)
    assert "&lt;b&gt;$loss$" in first
    assert "best" in first
    assert "best" not in curve_plot("c", "loss", [LEVEL], None)


def test_a_wide_range_is_logarithmic() -> None:
    assert "10^" in curve_plot("c", "loss", [FALLING], None).replace("$\\mathdefault{", "")
    below_zero = Curve("x", [(1, -1.0), (2, 100.0)])
    assert "10^" not in curve_plot("c", "loss", [below_zero], None)
