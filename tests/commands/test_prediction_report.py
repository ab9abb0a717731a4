"""The report of `predict`: label maps without references."""

from pathlib import Path

import numpy as np
import pytest

from vsuda_cli.commands.prediction_report import check_report, report_predictions
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import Failure, JobResult, Outcome
from vsuda_cli.io.nifti import save_image, save_label
from vsuda_cli.options import CaseOptions

AFFINE = np.diag([0.5, 0.5, 1.5, 1.0])


def files(folder: Path, case: str) -> tuple[Path, Path]:
    label = np.zeros((40, 40, 10), dtype=np.uint8)
    label[10:20, 10:20, 3:6] = 1
    noise = np.random.default_rng(0).random(label.shape)
    save_image(folder / f"{case}_hrT2.nii.gz", noise, AFFINE)
    save_label(folder / f"{case}_Label.nii.gz", label, AFFINE)
    return folder / f"{case}_hrT2.nii.gz", folder / f"{case}_Label.nii.gz"


def test_new_skipped_and_failed_cases_are_shown(tmp_path: Path) -> None:
    pairs = {case: files(tmp_path, case) for case in "ab"}
    scans = {case: scan for case, (scan, _) in pairs.items()}
    labels = {case: label for case, (_, label) in pairs.items()}
    outcome = Outcome({"a": JobResult((labels["a"],))}, ["b"], [Failure("c", "c: is damaged")])
    report = tmp_path / "r.html"
    report_predictions(report, scans, labels, outcome, ("VS", "cochlea"))
    page = report.read_text()
    assert page.count('class="prediction"') > 2
    assert 'class="reference"' not in page
    assert "c: is damaged" in page
    assert "VS Volume (ml)" in page
    assert f"{10 * 10 * 3 * 0.375 / 1000:.3f}" in page
    assert "Dice" not in page
    assert "4 files, SHA-256" in page


def test_a_label_map_of_another_grid_is_shown_without_its_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, label = files(tmp_path, "a")
    save_image(scan, np.ones((12, 12, 4)), AFFINE)
    report = tmp_path / "r.html"
    report_predictions(report, {"a": scan}, {"a": label}, Outcome({}, ["a"]), ("VS", "cochlea"))
    assert f"{scan}: on another grid than {label}" in capsys.readouterr().err
    assert 'class="prediction"' in report.read_text()


def test_nothing_is_written_without_a_report_or_a_case(tmp_path: Path) -> None:
    report_predictions(None, {}, {}, Outcome(), ("VS",))
    report_predictions(tmp_path / "r.html", {}, {}, Outcome(), ("VS",))
    assert not list(tmp_path.iterdir())


def test_an_existing_report_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "r.html"
    check_report(report, CaseOptions(dry_run=True))
    assert capsys.readouterr() == ("", f"would be written: {report}\n")
    report.touch()
    with pytest.raises(VsudaError, match="exists already"):
        check_report(report, CaseOptions())
    check_report(report, CaseOptions(force=True))
    check_report(None, CaseOptions())
    assert capsys.readouterr() == ("", "")
    with pytest.raises(VsudaError, match="is a folder"):
        check_report(tmp_path, CaseOptions(force=True))
    with pytest.raises(VsudaError, match="is no folder"):
        check_report(report / "r.html", CaseOptions())
