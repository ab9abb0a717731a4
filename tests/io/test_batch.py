"""Cases run one by one or in worker processes, and one bad case costs itself only."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import THREAD_LIMITS, Failure, Job, JobResult, Outcome, plan, run
from vsuda_cli.io.nifti import save_label


def work(case: str, deed: str, extra: Any = None) -> JobResult:
    """Do what a test wants of a case; workers import it from here."""
    if deed == "refuse":
        raise VsudaError(f"{case}.nii.gz", "is wrong", "fix it")
    if deed == "fill the disk":
        raise OSError(28, "No space left on device", f"{case}.nii.gz")
    if deed == "take all memory":
        raise MemoryError
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "tell the threads":
        extra = {name: os.environ.get(name) for name in THREAD_LIMITS}
    return JobResult((Path(case),), {"pid": os.getpid(), "extra": extra})


def jobs_for(**deeds: str) -> list[Job]:
    # The list among the arguments cannot be hashed: jobs carry arrays and networks, too.
    return [Job(case, (Path(case),), (case, deed, [1])) for case, deed in deeds.items()]


def outcomes(jobs: list[Job], workers: int) -> dict[str, JobResult | Failure]:
    pairs = list(run(jobs, work, workers))
    assert sorted(job.case for job, _ in pairs) == sorted(job.case for job in jobs)
    return {job.case: result for job, result in pairs}


def messages(found: dict[str, JobResult | Failure]) -> dict[str, str]:
    return {case: r.message for case, r in found.items() if isinstance(r, Failure)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_case_does_not_stop_the_others(workers: int) -> None:
    deeds = {"a": "refuse", "b": "work", "c": "fill the disk", "d": "take all memory", "e": "work"}
    found = outcomes(jobs_for(**deeds), workers)
    assert messages(found) == {
        "a": "a.nii.gz: is wrong; fix it",
        "c": "c.nii.gz: No space left on device; check space and permissions",
        "d": "d: out of memory; use fewer --workers",
    }
    done = [r for r in found.values() if isinstance(r, JobResult)]
    assert sorted(r.written for r in done) == [(Path("b"),), (Path("e"),)]
    in_this_process = {r.record["pid"] == os.getpid() for r in done}
    assert in_this_process == {workers == 1}


def test_a_killed_worker_costs_its_own_case_only() -> None:
    found = outcomes(jobs_for(a="work", b="die", c="work", d="work"), 2)
    assert list(messages(found)) == ["b"]
    assert "b: its worker process was killed" in messages(found)["b"]


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    found = outcomes(jobs_for(a="tell the threads", b="work"), 2)
    assert isinstance(found["a"], JobResult)
    assert found["a"].record["extra"] == dict.fromkeys(THREAD_LIMITS, "3")


@pytest.mark.parametrize("workers", [1, 3])
def test_no_cases_are_no_error(workers: int) -> None:
    # All cases skipped, or a shard beyond their number.
    assert outcomes([], workers) == {}


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
