"""A report's foot."""

from pathlib import Path

import pytest

from vsuda_cli.commands.report_foot import foot
from vsuda_cli.io.fingerprint import fingerprint


def test_command_versions_date_and_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1")
    monkeypatch.setattr("sys.argv", ["x/vsuda", "evaluate", "a\nb"])
    found = foot([tmp_path / "a", tmp_path / "absent"])
    assert found["command"] == "vsuda evaluate a\\nb"
    assert found["versions"].startswith("vsuda ")
    assert "matplotlib" in found["versions"]
    assert found["date"].endswith("UTC")
    assert found["data"] == f"1 file, SHA-256 {fingerprint([tmp_path / 'a'])}"


def test_the_date_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert foot([])["date"] == "2001-09-09 01:46 UTC"
