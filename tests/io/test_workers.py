"""Cases run one by one or in worker processes, and a killed worker costs its own case only."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import Failure, Job, JobResult
from vsuda_cli.io.workers import THREAD_LIMITS, run


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
    if deed == "sleep":
        time.sleep(60)
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
    deeds = {f"{number}": "die" if number == 3 else "work" for number in range(10)}
    found = outcomes(jobs_for(**deeds), 2)
    assert list(messages(found)) == ["3"]
    assert "3: its worker process was killed" in messages(found)["3"]


def test_an_interrupted_call_does_not_wait_for_its_workers() -> None:
    # The first results come while other cases sleep for a minute; nobody waits for these.
    began = time.monotonic()
    pairs = run(jobs_for(a="work", b="sleep", c="sleep", d="sleep"), work, 2)
    job, result = next(pairs)
    assert job.case == "a"
    assert isinstance(result, JobResult)
    pairs.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 45


def test_workers_end_when_their_command_is_killed() -> None:
    script = """
import test_workers as t
done = t.run(t.jobs_for(a="work", b="sleep"), t.work, 2)
print(next(done)[0].case, flush=True)
t.time.sleep(60)
"""
    command = subprocess.Popen(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    with command.stdout as written:
        assert written.readline() == "a\n"
        command.kill()
        command.wait()
        # The workers could write there too: that it ends says that they have.
        ended, _, _ = select.select([written], [], [], 45)
        assert ended


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    found = outcomes(jobs_for(a="tell the threads", b="work"), 2)
    assert isinstance(found["a"], JobResult)
    assert found["a"].record["extra"] == dict.fromkeys(THREAD_LIMITS, "3")


@pytest.mark.parametrize("workers", [1, 3])
def test_no_cases_are_no_error(workers: int) -> None:
    # All cases skipped, or a shard beyond their number.
    assert outcomes([], workers) == {}
