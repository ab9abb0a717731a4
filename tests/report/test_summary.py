"""Means over cases, and their order."""

import numpy as np
import pytest

from vsuda_cli.report.model import ReportCase
from vsuda_cli.report.summary import summarise, worst_first


def test_summary_leaves_out_undefined_scores() -> None:
    values = [0.2, 0.9, 0.7]
    cases = [ReportCase(str(v), {"VS_Dice": v, "VS_ASSD": None}) for v in values]
    cases += [ReportCase("absent", {"VS_Dice": None}), ReportCase("broken", error="damaged")]
    (row,) = summarise(cases, ("VS",), ("Dice", "ASSD"))
    assert (row.structure, row.metric, row.count) == ("VS", "Dice", 3)
    assert row.mean == pytest.approx(np.mean(values))
    assert row.sd == pytest.approx(np.std(values, ddof=1))
    assert (row.lower_quartile, row.median, row.upper_quartile) == pytest.approx((0.45, 0.7, 0.8))


def test_one_case_has_no_spread() -> None:
    (row,) = summarise([ReportCase("a", {"VS_Dice": 0.5})], ("VS",), ("Dice",))
    assert row.sd == 0


def test_failed_first_then_worst_then_unscored() -> None:
    cases = [
        ReportCase("good", {"VS_Dice": 0.9, "cochlea_Dice": 0.8}),
        ReportCase("unscored", {"VS_Dice": None}),
        ReportCase("bad", {"VS_Dice": 0.1, "cochlea_Dice": 0.8}),
        ReportCase("also_good", {"VS_Dice": 0.8, "cochlea_Dice": 0.9}),
        ReportCase("broken", error="damaged"),
    ]
    order = [case.case for case in worst_first(cases, ("VS", "cochlea"), "Dice")]
    assert order == ["broken", "bad", "also_good", "good", "unscored"]
