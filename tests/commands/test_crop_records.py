"""What a call's records tell of its registrations."""

from vsuda_cli.commands.crop_records import outliers
from vsuda_cli.io.batch import JobResult


def test_a_case_far_less_alike_than_the_others_is_named():
    def reached(value):
        return JobResult((), {"sides": {"R": {"similarity": value}}})

    results = {case: reached(0.08) for case in "abcd"}
    assert outliers({}) == []
    assert outliers(results) == []
    results["e"] = reached(0.04)
    assert [line.split(":")[0] for line in outliers(results)] == ["e"]


def test_a_similarity_that_right_ones_hardly_have_is_named_where_all_are_alike():
    sides = {"R": {"similarity": 0.07}, "L": {"similarity": 0.034}}
    lines = outliers({"a": JobResult((), {"sides": sides}), "crop": JobResult((), {"runs": {}})})
    assert lines == ["a: look at side L: similarity 0.034, right ones mostly exceed 0.06"]
