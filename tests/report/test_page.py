"""The page as a whole: self-contained, escaped, the same twice."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from vsuda_cli.report.model import Report, ReportCase
from vsuda_cli.report.page import write_report
from vsuda_cli.report.slices import draw_case

STRUCTURES = ("VS", "cochlea")
FOOT = {"Command": "vsuda evaluate 'a&b' c", "Version": "1", "Date": "2026-01-02"}
EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Collects a page's elements with their attributes, and its visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def cases() -> list[ReportCase]:
    label = np.zeros((50, 50, 12), np.uint8)
    label[20:30, 20:30, 4:8] = 1
    label[35:38, 20:23, 5:7] = 2
    scan = np.random.default_rng(0).random(label.shape).astype(np.float32)
    drawing = draw_case(label, np.roll(label, 2, 0), scan, np.diag([0.5, 0.5, 1.5, 1]), STRUCTURES)
    good = {"VS_Dice": 0.9, "VS_ASSD": 0.4, "cochlea_Dice": 0.8, "cochlea_ASSD": None}
    bad = {"VS_Dice": 0.0, "VS_ASSD": 350.0, "cochlea_Dice": 0.1, "cochlea_ASSD": 5.0}
    return [
        ReportCase("good", good, drawing),
        ReportCase(EVIL, bad, drawing),
        ReportCase('quote" onload="x', error="x_Label.nii.gz: is damaged; copy it again"),
    ]


def written(path: Path, shown: list[ReportCase]) -> str:
    write_report(path, Report("Scores", STRUCTURES, ("Dice", "ASSD"), shown, FOOT))
    return path.read_text(encoding="utf-8")


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_names_are_escaped(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", cases())
    tags = parsed(page)
    assert EVIL not in page
    assert EVIL in tags.text
    assert [tag for tag, _ in tags.elements].count("script") == 1
    assert not any("onload" in attributes for _, attributes in tags.elements)
    assert "vsuda evaluate 'a&b' c" in tags.text


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", cases())
    for _, attributes in parsed(page).elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            link = attributes.get(name) or "#"
            assert link.startswith(("#", "data:image/png;base64,")), link
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_links_between_table_plots_and_cards_lead_somewhere(tmp_path: Path) -> None:
    elements = parsed(written(tmp_path / "r.html", cases())).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes.get("href") or "" for tag, attributes in elements if tag == "a"]
    assert {"#case-1", "#case-2", "#case-3", "#cases"} <= set(links)
    assert {link[1:] for link in links if link} <= set(ids)


def test_failed_case_is_shown_first_and_as_such(tmp_path: Path) -> None:
    tags = parsed(written(tmp_path / "r.html", cases()))
    cards = [attributes for tag, attributes in tags.elements if tag == "article"]
    assert [card["class"] for card in cards] == ["card failed", "card", "card"]
    assert "Failed: x_Label.nii.gz: is damaged; copy it again" in tags.text
    assert "1 failed and in no mean below" in tags.text
    assert tags.text.index("350.000") < tags.text.index("0.900")


def test_every_view_has_one_slice_shown_and_a_labelled_slider(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", cases())
    views = re.findall(r'<figure class="view">.*?</figure>', page, re.DOTALL)
    assert len(views) == 2 * 6
    for view in views:
        slices = re.findall(r"<svg [^>]*>", view)
        assert len([one for one in slices if " hidden" not in one]) == 1
        assert 'class="reference"' in view
        assert 'class="prediction"' in view
        assert 'type="range"' in view and "aria-label" in view


def test_same_arguments_give_the_same_bytes_in_any_order_of_cases(tmp_path: Path) -> None:
    assert written(tmp_path / "a.html", cases()) == written(tmp_path / "b.html", cases()[::-1])


def test_only_failed_cases_make_a_report_too(tmp_path: Path) -> None:
    page = written(tmp_path / "r.html", [ReportCase("a", error="damaged")])
    assert "No case could be scored." in page


def test_thirty_cases_stay_below_fifteen_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.zeros((340, 340, 90), np.uint8)
    label[130:200, 130:200, 30:60] = 1
    label[60:70, 160:170, 40:45] = label[270:280, 160:170, 40:45] = 2
    scan = rng.normal(size=label.shape).astype(np.float32)
    drawing = draw_case(label, label, scan, np.diag([0.41, 0.41, 1.5, 1]), STRUCTURES)
    page = written(tmp_path / "r.html", [ReportCase("a", {"VS_Dice": 0.5}, drawing)])
    bare = written(tmp_path / "b.html", [ReportCase("a", {"VS_Dice": 0.5})])
    assert len(bare) + 30 * (len(page) - len(bare)) < 15e6
