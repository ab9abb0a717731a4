"""Cases over a real dask scheduler: failures, killed workers, other versions, a lost scheduler."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask_site
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic, cluster
from vsuda_cli.io.batch import Failure, Job, JobResult
from vsuda_cli.io.workers import run

dask = pytest.importorskip("dask")


def work(case: str, deed: str, folder: Path) -> JobResult:
    """Do what a test wants of a case; workers import it from here."""
    path = folder / f"{case}.txt"
    if deed == "refuse":
        raise VsudaError(f"{case}.nii.gz", "is wrong", "fix it")
    if deed == "die" or (deed == "die once" and not (folder / "died").exists()):
        with atomic.replacing(path) as temporary:
            temporary.write_text("half")
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    atomic.write_text(path, case)
    return JobResult((path,), {"pid": os.getpid()})


def jobs_for(folder: Path, **deeds: str) -> list[Job]:
    return [
        Job(case, (folder / f"{case}.txt",), (case, deed, folder)) for case, deed in deeds.items()
    ]


def outcomes(jobs: list[Job], address: str) -> dict[str, JobResult | Failure]:
    pairs = list(run(jobs, work, 1, address))
    assert sorted(job.case for job, _ in pairs) == sorted(job.case for job in jobs)
    return {job.case: result for job, result in pairs}


def messages(found: dict[str, JobResult | Failure]) -> dict[str, str]:
    return {case: r.message for case, r in found.items() if isinstance(r, Failure)}


@pytest.fixture(scope="module", name="site")
def _site() -> Iterator[Any]:
    with dask_site.site(workers=2) as started:
        yield started


def test_workers_do_the_cases_where_the_call_stands(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Relative paths mean the same to the workers as to the call.
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    # More cases than are handed out at once.
    monkeypatch.setattr(cluster, "LEAST_WAITING", 3)
    deeds = {f"{number:02}": "refuse" if number == 5 else "work" for number in range(12)}
    found = outcomes(jobs_for(Path("out"), **deeds), site.scheduler_address)
    assert messages(found) == {"05": "05.nii.gz: is wrong; fix it"}
    done = [r for r in found.values() if isinstance(r, JobResult)]
    assert len(list((tmp_path / "out").iterdir())) == len(done) == 11
    assert os.getpid() not in {r.record["pid"] for r in done}


def test_a_killed_worker_costs_nothing_and_leaves_no_half_output(site: Any, tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, a="work", b="die once", c="work", d="work", e="work")
    found = outcomes(jobs, site.scheduler_address)
    assert messages(found) == {}
    assert (tmp_path / "died").exists()
    for case in "abcde":
        assert (tmp_path / f"{case}.txt").read_text() == case
    atomic.remove_leftovers([tmp_path])
    assert len(list(tmp_path.iterdir())) == 6


def test_a_case_that_kills_every_worker_is_reported(site: Any, tmp_path: Path) -> None:
    site.scheduler.allowed_failures = 0
    found = outcomes(jobs_for(tmp_path, a="work", b="die", c="work"), site.scheduler_address)
    # Without a second chance, a case that waited for the killed worker may be given up with it.
    assert "b: every worker that tried it was killed" in messages(found)["b"]
    assert not (tmp_path / "b.txt").exists()


def test_another_version_and_another_file_system_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("a", (), ("a", "work", tmp_path))
    other = cluster._attempt_there(work, job, tmp_path, "0.0.0")
    assert isinstance(other, Failure)
    assert "not 0.0.0; install the same everywhere" in other.message
    absent = cluster._attempt_there(work, job, tmp_path / "absent", cluster.__version__)
    assert isinstance(absent, Failure)
    assert "a worker does not see" in absent.message
    before = Path.cwd()
    assert isinstance(cluster._attempt_there(work, job, tmp_path, cluster.__version__), JobResult)
    assert Path.cwd() == before


def test_no_scheduler_is_an_error_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x", str(tmp_path / "absent.json")):
        with pytest.raises(VsudaError, match=r"reaches no scheduler|does not exist"):
            outcomes(jobs_for(tmp_path, a="work"), address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(VsudaError, match=r"pip install 'vsuda\[dask\]'"):
        outcomes(jobs_for(tmp_path, a="work"), "tcp://127.0.0.1:9")


def test_a_lost_scheduler_fails_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "scheduler.json"
    words = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        stderr=subprocess.DEVNULL,
    )
    try:
        while not file.exists():
            assert scheduler.poll() is None
            time.sleep(0.1)
        monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 1)
        threading.Timer(3, scheduler.kill).start()
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            found = outcomes(jobs_for(tmp_path, a="work", b="work"), str(file))
    finally:
        scheduler.kill()
        scheduler.wait()
    assert "has no workers; waiting for some" in caplog.text
    assert list(messages(found)) == ["a", "b"]
    assert "was lost; start one, rerun with --skip-existing" in messages(found)["a"]
