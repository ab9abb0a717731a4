"""What is to be done is decided before anything starts, and one bad case costs itself only."""

from pathlib import Path

import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import Failure, Job, JobResult, Outcome, attempt, plan
from vsuda_cli.io.nifti import save_label


def write_label(path: Path) -> Path:
    save_label(path, np.ones((4, 4, 4), np.uint8), np.eye(4))
    return path


def test_plan_refuses_existing_outputs(tmp_path: Path) -> None:
    there = write_label(tmp_path / "b_Label.nii.gz")
    jobs = [Job("a", (tmp_path / "a_Label.nii.gz",), ()), Job("b", (there,), ())]
    with pytest.raises(VsudaError, match=r"b_Label\.nii\.gz: exists already; use --force"):
        plan(jobs, force=False, skip_existing=False)
    assert plan(jobs, force=True, skip_existing=False) == (jobs, [])
    assert plan(jobs, force=False, skip_existing=True) == (jobs[:1], ["b"])


def test_skipping_asks_whether_all_outputs_are_whole(tmp_path: Path) -> None:
    label = write_label(tmp_path / "a_Label.nii.gz")
    job = Job("a", (label, tmp_path / "a.json"), ())
    assert plan([job], force=False, skip_existing=True) == ([job], [])
    (tmp_path / "a.json").write_text("{}")
    assert plan([job], force=False, skip_existing=True) == ([], ["a"])
    label.write_bytes(label.read_bytes()[:-5])
    assert plan([job], force=False, skip_existing=True) == ([job], [])


def test_a_sibling_of_an_earlier_call_stays_beside_no_new_output(tmp_path: Path) -> None:
    label, sibling = tmp_path / "a_Label.nii.gz", write_label(tmp_path / "a_Probability.nii.gz")
    jobs = [Job("a", (label,), (), siblings=(sibling,))]
    for force in (False, True):
        with pytest.raises(VsudaError, match=r"a_Probability\.nii\.gz: is of an earlier call"):
            plan(jobs, force=force, skip_existing=False)
    write_label(label)
    # What stays may keep its company.
    assert plan(jobs, force=False, skip_existing=True) == ([], ["a"])


def test_a_job_without_outputs_is_never_skipped() -> None:
    job = Job("a", (), ())
    assert plan([job], force=False, skip_existing=True) == ([job], [])


def test_two_cases_with_one_output_are_refused(tmp_path: Path) -> None:
    jobs = [Job(case, (tmp_path / "x_Label.nii.gz",), ()) for case in ("a", "b")]
    for force in (False, True):
        with pytest.raises(VsudaError, match="would be written for a and for b"):
            plan(jobs, force=force, skip_existing=True)


def test_the_exit_code_tells_failures() -> None:
    assert Outcome(skipped=["a"]).exit_code == 0
    assert Outcome(failures=[Failure("a", "no")]).exit_code == 1


def fail(error: BaseException) -> JobResult:
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (VsudaError("a.nii", "is wrong", "fix it"), "a.nii: is wrong; fix it"),
        (OSError(28, "No space left"), "a: No space left; check space and permissions"),
        (OSError(13, "Denied", "f"), "f: Denied; check space and permissions"),
        (MemoryError(), "a: out of memory; use fewer --workers"),
        (RuntimeError("ITK says no"), "a: RuntimeError: ITK says no; please report this, with -vv"),
    ],
)
def test_every_error_becomes_the_failure_of_its_case(error: Exception, message: str) -> None:
    assert attempt(fail, Job("a", (), (error,))) == Failure("a", message)


def test_an_interruption_is_no_failure_of_a_case() -> None:
    with pytest.raises(KeyboardInterrupt):
        attempt(fail, Job("a", (), (KeyboardInterrupt(),)))
