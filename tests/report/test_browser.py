"""The pages in a real browser: no errors, no requests, and everything that can be clicked works."""

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_run import a_run

from vsuda_cli.report.model import Report, ReportCase
from vsuda_cli.report.page import write_report
from vsuda_cli.report.run_page import write_run_page
from vsuda_cli.report.slices import draw_case
from vsuda_cli.report.viewer import niivue_script

pytestmark = pytest.mark.browser

STRUCTURES = ("VS", "cochlea")
EVIL = "<script>document.title = 'harmed'</script>"
# Dice of VS and site by case; the page shows the worst first.
CASES = {EVIL: (0.2, "etz"), "b10": (0.9, "etz"), "b9": (0.5, "ldn")}


def report(viewer: bool = False) -> Report:
    label = np.zeros((60, 60, 16), np.uint8)
    label[20:32, 20:32, 4:12], label[40:44, 20:24, 6:9] = 1, 2
    scan = np.random.default_rng(0).random(label.shape).astype(np.float32)
    affine = np.diag([0.5, 0.5, 1.5, 1])
    drawing = draw_case(label, np.roll(label, 3, 0), scan, affine, STRUCTURES, viewer=viewer)
    cases = []
    for case, (dice, site) in CASES.items():
        scores = {"VS_Dice": dice, "VS_ASSD": 1 - dice, "cochlea_Dice": dice, "cochlea_ASSD": None}
        cases.append(ReportCase(case, scores, drawing, group=site))
    cases.append(ReportCase("broken", error="broken_Label.nii.gz: is damaged", group="ldn"))
    script = niivue_script() if viewer else ""
    metrics, foot = ("Dice", "ASSD"), {"command": f"vsuda {EVIL}"}
    return Report(
        "Scores", STRUCTURES, metrics, cases, foot, {"ASSD": " (mm)"}, "site", viewer=script
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "r.html"
    write_report(path, report())
    return path


def names(browser: Any) -> list[str]:
    rows, cards = browser.texts("#table tbody td:first-child"), browser.texts(".card h3")
    assert rows == cards
    return rows


def fill_in(browser: Any, control: str, value: str) -> None:
    script = """
    const [id, value] = arguments;
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("input"));
    """
    browser.run(script, control, value)


def test_it_opens_without_errors_or_requests_and_names_do_no_harm(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.logged() == ([], [])
    assert browser.driver.title == "Scores"
    assert names(browser) == ["broken", EVIL, "b9", "b10"]
    assert browser.texts("#shown") == ["4 of 4 cases"]
    browser.element('a[href="#case-3"]').click()
    assert browser.run("return document.querySelector(':target h3').textContent") == "b9"


def test_sorting(browser: Any, page: Path) -> None:
    browser.open(page)
    heads = browser.driver.find_elements("css selector", "#table th button")
    assert [head.text for head in heads[:4]] == ["Case", "site", "VS Dice", "VS ASSD (mm)"]
    heads[2].click()
    assert names(browser) == [EVIL, "b9", "b10", "broken"]
    heads[2].click()
    assert names(browser) == ["b10", "b9", EVIL, "broken"]
    heads[0].send_keys("\ue007")  # Enter: the keyboard does what the mouse does.
    assert names(browser) == [EVIL, "b9", "b10", "broken"]
    heads[1].click()
    assert names(browser)[:2] == [EVIL, "b10"]
    sorted_by = browser.run("return document.querySelector('[aria-sort]').dataset.kind")
    assert sorted_by == "group"


def test_filters_by_name_site_and_score(browser: Any, page: Path) -> None:
    browser.open(page)
    browser.element("#name").send_keys("B")
    assert names(browser) == ["broken", "b9", "b10"]
    assert browser.texts("#shown") == ["3 of 4 cases"]
    fill_in(browser, "group", "ldn")
    assert names(browser) == ["broken", "b9"]
    fill_in(browser, "name", "")
    fill_in(browser, "group", "")
    fill_in(browser, "score", "0")
    fill_in(browser, "from", "0.3")
    assert names(browser) == ["b9", "b10"]
    fill_in(browser, "to", "0.6")
    assert names(browser) == ["b9"]
    # Nobody has this score: nobody is in its range.
    fill_in(browser, "score", "3")
    assert names(browser) == []


def test_slider_and_outlines(browser: Any, page: Path) -> None:
    browser.open(page)
    figure = "#case-2 .view:first-child"
    shown = f"return document.querySelector('{figure} svg:not([hidden])').dataset.place"
    before = browser.run(shown)
    assert browser.texts(f"{figure} .place") == [before]
    browser.element(f"{figure} input").send_keys("\ue014")  # Arrow right
    assert browser.run(shown) != before
    assert browser.texts(f"{figure} .place") == [browser.run(shown)]
    outline = browser.element(f"{figure} svg:not([hidden]) path.reference")
    assert outline.is_displayed()
    browser.element('.toggle[value="reference"]').click()
    assert not outline.is_displayed()
    assert browser.element(f"{figure} svg:not([hidden]) path.prediction").is_displayed()


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_the_viewer_shows_a_case_and_closes(browser: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("ipyniivue") is None:
        pytest.skip("ipyniivue is not installed")
    write_report(tmp_path / "v.html", report(viewer=True))
    browser.open(tmp_path / "v.html")
    browser.element("#case-2 .open-viewer").click()
    for _ in range(600):
        state = browser.element("#viewer-state").text
        if "WebGL" in state or browser.run("return viewer.dataset.ready") == "yes":
            break
        time.sleep(0.2)
    if "WebGL" in state:
        pytest.skip("this Chromium has no WebGL")
    assert browser.element("#viewer-case").text == EVIL
    assert browser.run("return document.activeElement.id") == "viewer-canvas"
    place = "return loading.then((loaded) => Array.from(loaded.niivue.scene.crosshairPos))"
    before = browser.run(place)
    browser.element("#viewer-canvas").send_keys("\ue014")
    after = browser.run(place)
    assert after[0] > before[0]
    assert after[1:] == before[1:]
    browser.element("[data-view='4']").click()
    assert browser.run("return loading.then((loaded) => loaded.niivue.opts.sliceType)") == 4
    assert browser.logged() == ([], [])
    browser.element("#viewer-close").click()
    assert not browser.run("return viewer.open")


def test_a_runs_page(browser: Any, tmp_path: Path) -> None:
    browser.open(write_run_page(a_run(tmp_path / "run", 3)), 400)
    assert browser.logged() == ([], [])
    assert browser.texts("#epoch") == ["3"]
    browser.element("#sample").send_keys("\ue012")  # Arrow left
    assert browser.texts("#epoch") == ["2"]
    assert browser.run("return document.querySelector('img:not([hidden])').dataset.epoch") == "2"
    assert browser.run("return document.documentElement.scrollWidth") <= 400
