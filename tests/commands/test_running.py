"""How a command that works case by case reports and ends."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from vsuda_cli import console
from vsuda_cli.commands.running import (
    device_threads,
    finish,
    rank_device,
    run_cases,
    run_on_device,
)
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import Job, JobResult, Outcome
from vsuda_cli.io.pipeline import Stages
from vsuda_cli.options import BatchOptions, NetworkOptions

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    monkeypatch.setattr(console.err, "quiet", False)


def work(case: str, path: Path) -> JobResult:
    """Write one file, or refuse to."""
    CALLS.append(case)
    if case.startswith("bad"):
        raise VsudaError(f"{case}.nii.gz", "is wrong", "fix it")
    path.write_text(case)
    return JobResult((path,), {"score": 0.5}, (f"{case}: a note",))


def jobs_for(folder: Path, *cases: str) -> list[Job]:
    return [Job(case, (folder / f"{case}.txt",), (case, folder / f"{case}.txt")) for case in cases]


def test_written_paths_go_to_stdout_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_cases("Working", jobs_for(tmp_path, "b", "a"), work, BatchOptions())
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'a.txt'}\n{tmp_path / 'b.txt'}\n"
    assert captured.err == "a: a note\nb: a note\n"
    assert list(outcome.results) == ["a", "b"]
    finish(outcome)


def test_what_a_worker_leaves_that_dies_meanwhile_is_removed(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(line) as writer:
        machine = socket.gethostname().partition(".")[0]
        leftover = tmp_path / f".a.txt.{machine}.{writer.pid}.x.partial"
        leftover.touch()

        def ended(case: str, path: Path) -> JobResult:
            assert leftover.exists()
            writer.kill()
            writer.wait()
            return work(case, path)

        run_cases("Working", jobs_for(tmp_path, "a"), ended, BatchOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_json_gives_an_object_a_case_failures_included(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = BatchOptions(as_json=True)
    outcome = run_cases("Working", jobs_for(tmp_path, "a", "bad"), work, options)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"case": "a", "written": [str(tmp_path / "a.txt")], "score": 0.5},
        {"case": "bad", "error": "bad.nii.gz: is wrong; fix it"},
    ]
    assert outcome.exit_code == 1


def test_failures_are_listed_last_and_end_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_cases("Working", jobs_for(tmp_path, "bad2", "c", "bad1"), work, BatchOptions())
    with pytest.raises(typer.Exit) as ended:
        finish(outcome)
    assert ended.value.exit_code == 1
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'c.txt'}\n"
    assert captured.err.splitlines() == [
        "c: a note",
        "error: bad1.nii.gz: is wrong; fix it",
        "error: bad2.nii.gz: is wrong; fix it",
        "error: 2 cases failed, 1 done",
    ]


def test_nothing_to_complain_about_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    finish(Outcome(skipped=["a"]))
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_existing_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = jobs_for(tmp_path, "a", "b")
    (tmp_path / "b.txt").write_text("old")
    with pytest.raises(VsudaError, match="exists already"):
        run_cases("Working", jobs, work, BatchOptions())
    assert CALLS == []
    outcome = run_cases("Working", jobs, work, BatchOptions(skip_existing=True))
    assert (CALLS, outcome.skipped) == (["a"], ["b"])
    assert "1 of 2 cases are there already" in capsys.readouterr().err
    assert (tmp_path / "b.txt").read_text() == "old"
    run_cases("Working", jobs, work, BatchOptions(force=True))
    assert (tmp_path / "b.txt").read_text() == "b"


def test_a_dry_run_names_outputs_and_calls_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_cases("Working", jobs_for(tmp_path, "a", "bad"), work, BatchOptions(dry_run=True))
    assert capsys.readouterr().out == f"{tmp_path / 'a.txt'}\n{tmp_path / 'bad.txt'}\n"
    assert CALLS == []
    assert list(tmp_path.iterdir()) == []
    finish(outcome)


def test_a_shard_takes_its_share_before_anything_is_skipped(tmp_path: Path) -> None:
    # Sorted, then shared, then skipped: what exists does not move cases to another shard.
    jobs = jobs_for(tmp_path, "d", "c", "b", "a")
    (tmp_path / "a.txt").write_text("old")
    outcome = run_cases("Working", jobs, work, BatchOptions(shard="1/2", skip_existing=True))
    assert (CALLS, outcome.skipped) == (["c"], ["a"])
    CALLS.clear()
    run_cases("Working", jobs, work, BatchOptions(shard="2/2"))
    assert CALLS == ["b", "d"]


def test_a_share_without_cases_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = jobs_for(tmp_path, "a", "b", "c", "d")
    options = BatchOptions(shard="9/9")
    outcome = run_cases("Working", jobs, work, options)
    told = "Working: this share has no cases (9/9 of 4)\n"
    assert capsys.readouterr() == ("", told)
    finish(outcome)
    # There may be none at all, of which others speak.
    run_cases("Working", [], work, options)
    assert capsys.readouterr() == ("", "")
    on_device(jobs, NetworkOptions(shard="9/9"))
    assert capsys.readouterr() == ("", told.replace("Working", "Trying"))
    run_cases("Working", jobs, work, BatchOptions(shard="9/9", quiet=True))
    assert capsys.readouterr() == ("", "")
    assert CALLS == []


def test_workers_write_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = BatchOptions(workers=2, quiet=True)
    outcome = run_cases("Working", jobs_for(tmp_path, "a", "bad", "c"), work, options)
    assert CALLS == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.txt": "a",
        "c.txt": "c",
    }
    assert outcome.exit_code == 1
    captured = capsys.readouterr()
    assert sorted(captured.out.splitlines()) == [
        str(tmp_path / "a.txt"),
        str(tmp_path / "c.txt"),
    ]
    assert captured.err == ""


def test_more_workers_than_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    options = BatchOptions(workers=2, skip_existing=True)
    assert run_cases("Working", jobs_for(tmp_path, "a"), work, options).skipped == ["a"]


def device_jobs(folder: Path, *cases: str) -> list[Job]:
    return [Job(case, (folder / f"{case}.txt",), (case, folder / f"{case}.txt")) for case in cases]


def stages() -> Stages:
    return Stages(lambda source: source, lambda loaded, target: loaded, work)


def on_device(jobs: list[Job], options: NetworkOptions) -> Outcome:
    return run_on_device("Trying", jobs, stages(), stages, options, 1)


def test_a_device_is_reported_on_as_workers_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("old")
    options = NetworkOptions(skip_existing=True)
    outcome = on_device(device_jobs(tmp_path, "c", "bad", "a"), options)
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'c.txt'}\n"
    assert (outcome.skipped, list(outcome.results)) == (["a"], ["c"])
    assert [failure.case for failure in outcome.failures] == ["bad"]
    assert "Trying: 1 of 3 cases are there already" in captured.err


def test_ranks_share_the_cases_of_a_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = device_jobs(tmp_path, *"abcdefg")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, wanted in (("0", ["a", "e"]), ("1", ["c", "g"])):
        monkeypatch.setenv("RANK", rank)
        CALLS.clear()
        on_device(jobs, NetworkOptions(shard="1/2", force=True))
        assert wanted == CALLS
    assert "Trying: process 2 of 2 takes 2 of 4" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert on_device(device_jobs(tmp_path, "z"), NetworkOptions()).results == {}


def test_each_rank_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert rank_device("auto") == "auto"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [rank_device(name) for name in ("auto", "cuda")] == ["cuda:1", "cuda:1"]
    assert [rank_device(name) for name in ("cpu", "cuda:0")] == ["cpu", "cuda:0"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert rank_device("auto") == "auto"


def test_a_gpu_gets_more_threads_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert (device_threads("cpu"), device_threads("cuda")) == (1, 4)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert device_threads("cuda") == 6
