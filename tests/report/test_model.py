"""What a report shows: a case that could not be scored says so."""

from vsuda_cli.report.model import ReportCase


def test_a_case_with_an_error_has_failed() -> None:
    assert not ReportCase("a", {"VS_Dice": None}).failed
    assert ReportCase("a", error="is on another grid").failed
