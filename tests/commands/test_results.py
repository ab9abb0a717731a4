"""What `evaluate` shows and writes: cases with groups, tables, rows."""

import json
from pathlib import Path

import pytest

from vsuda_cli.commands.results import report_cases, show, write_csv, write_html, write_json
from vsuda_cli.commands.scoring import Measures
from vsuda_cli.io.batch import Failure, JobResult, Outcome

MEASURES = Measures(("VS",))
SCORES = {"a": (0.5, 2.0), "b": (0.7, None), "c": (0.9, 1.0)}


def outcome() -> Outcome:
    results = {
        case: JobResult((), {"scores": {"VS_Dice": dice, "VS_ASSD": assd}})
        for case, (dice, assd) in SCORES.items()
    }
    return Outcome(results, failures=[Failure("bad", "bad_Label.nii.gz: is damaged")])


GROUPS = {"a": "x", "b": "y", "c": "x", "bad": "y"}


def test_failed_cases_are_among_the_others_by_name() -> None:
    cases = report_cases(outcome(), GROUPS)
    assert [case.case for case in cases] == ["a", "b", "bad", "c"]
    assert [case.failed for case in cases] == [False, False, True, False]
    assert [case.group for case in cases] == ["x", "y", "y", "x"]
    assert {case.group for case in report_cases(outcome(), {})} == {""}


def test_tables_of_all_and_of_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    show(report_cases(outcome(), GROUPS), MEASURES, "site")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(("case", "cases"))] == [
        "3 cases",
        "site x: 2 cases",
        "site y: 1 case",
    ]
    means = [line.split()[3] for line in lines if line.startswith("VS ASSD")]
    assert means == ["2", "2"]
    assert [line.split()[2:4] for line in lines if line.startswith("VS Dice")] == [
        ["3", "0.7000"],
        ["2", "0.7000"],
        ["1", "0.7000"],
    ]


def test_rows_in_csv_and_json(tmp_path: Path) -> None:
    cases = report_cases(outcome(), GROUPS)
    write_csv(tmp_path / "a.csv", cases, MEASURES)
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "case,VS_Dice,VS_ASSD",
        "a,0.5,2.0",
        "b,0.7,",
        "c,0.9,1.0",
    ]
    write_json(tmp_path / "a.json", cases, MEASURES, "site")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["failed"] == [
        {"case": "bad", "site": "y", "error": "bad_Label.nii.gz: is damaged"}
    ]
    assert content["summary_by"]["site"]["y"][0]["count"] == 1
    write_json(tmp_path / "b.json", report_cases(outcome(), {}), MEASURES, "")
    assert "summary_by" not in json.loads((tmp_path / "b.json").read_text())


def test_the_report_has_units_and_a_foot(tmp_path: Path) -> None:
    write_html(tmp_path / "a.html", report_cases(outcome(), {}), MEASURES, "", [], "")
    page = (tmp_path / "a.html").read_text()
    assert "VS ASSD (mm)" in page
    assert "<dt>versions</dt>" in page
    assert "0 files, SHA-256" in page
