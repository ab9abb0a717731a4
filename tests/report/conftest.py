"""A real browser for the pages: Chromium without a window, driven by Selenium."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# WebGL is drawn by the processor: the viewer is tested on machines without a graphics card, too.
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=1280,900",
)


class Browser:
    """One browser that opens pages from files and tells what they logged and asked for."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, width: int = 1280) -> None:
        """Open a page in a window of this width."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        self.logged()
        self.driver.get(path.as_uri())

    def run(self, script: str, *words: Any) -> Any:
        """Run JavaScript in the page and return its value."""
        return self.driver.execute_script(script, *words)

    def texts(self, selector: str) -> list[str]:
        """Return the text of every visible element that fits."""
        found = self.driver.find_elements("css selector", selector)
        return [element.text for element in found if element.is_displayed()]

    def element(self, selector: str) -> Any:
        """Return the first element that fits."""
        return self.driver.find_element("css selector", selector)

    def logged(self) -> tuple[list[str], list[str]]:
        """Return the console's errors, and the addresses outside the page that were asked for."""
        errors = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        asked = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return errors, [a for a in asked if not a.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start the browser once; skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    chauffeur = shutil.which("chromedriver")
    if program is None or chauffeur is None:
        pytest.skip("no Chromium with its driver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(chauffeur)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
