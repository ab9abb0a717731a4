"""Plots as SVG inside the page."""

import re
from xml.etree import ElementTree

from vsuda_cli.report.plots import Point, box_plot, scatter_plot

GROUPS = [("VS", [Point(1, 0.5, 0.1), Point(2, 0.7, 3.0)]), ("<b>$x^$", [Point(2, 0.2, 0.02)])]


def test_points_lead_to_their_cards_and_ids_are_the_plots_own() -> None:
    svg = box_plot("one", "Dice", GROUPS, True)
    links = re.findall(r'href="(#case-\d+)"', svg)
    assert sorted(set(links)) == ["#case-1", "#case-2"]
    assert all(name.startswith("one-") for name in re.findall(r'\bid="([^"]+)"', svg))
    used = re.findall(r'href="#(one-[^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
    assert set(used) <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_plots_are_well_formed_dateless_and_the_same_twice() -> None:
    first, second = (scatter_plot("v", "ml", "Dice", GROUPS) for _ in range(2))
    assert first == second
    ElementTree.fromstring(first)
    assert "<b>" not in first
    assert "date" not in first.lower()


def test_nothing_to_plot_is_an_empty_plot() -> None:
    empty: list[tuple[str, list[Point]]] = [("VS", []), ("cochlea", [])]
    ElementTree.fromstring(box_plot("one", "ASSD (mm)", empty, False))
    ElementTree.fromstring(scatter_plot("two", "ml", "Dice", empty))
