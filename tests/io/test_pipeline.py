"""Cases are loaded ahead and saved behind, in order, with bounded memory; failures stay alone."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import Failure, Job, JobResult
from vsuda_cli.io.pipeline import Stages, run_overlapped

# Seconds until a test that waits for another thread gives up.
PATIENCE = 20.0


def job(case: str, source: str | None = None) -> Job:
    return Job(case, (), (source or case, f"to {case}"))


def save(computed: Any, target: Any) -> JobResult:
    return JobResult((Path(f"{computed} {target}"),))


def compute(loaded: Any, target: Any) -> Any:
    return f"computed {loaded}"


def load(source: Any) -> Any:
    return source


def run(
    jobs: list[Job],
    threads: int = 1,
    load: Callable[[Any], Any] = load,
    compute: Callable[[Any, Any], Any] = compute,
    save: Callable[[Any, Any], JobResult] = save,
) -> list[tuple[str, JobResult | Failure]]:
    stages = Stages(load, compute, save)
    return [(one.case, result) for one, result in run_overlapped(jobs, stages, threads)]


@pytest.mark.parametrize("threads", [1, 3])
def test_every_job_goes_through_all_stages_in_order(threads: int) -> None:
    cases = [f"{n:02d}" for n in range(12)]
    found = run([job(case) for case in cases], threads)
    assert [case for case, _ in found] == cases
    for case, result in found:
        assert isinstance(result, JobResult)
        assert result.written == (Path(f"computed {case} to {case}"),)
    assert run([], threads) == []


def test_computing_stays_in_the_calling_thread_and_the_rest_outside() -> None:
    names: dict[str, set[str]] = {"load": set(), "compute": set(), "save": set()}

    def note(stage: str, result: Any) -> Any:
        names[stage].add(threading.current_thread().name.split("_")[0])
        return result

    run(
        [job("a"), job("b")],
        load=lambda s: note("load", s),
        compute=lambda x, t: note("compute", x),
        save=lambda x, t: note("save", JobResult(())),
    )
    here = threading.current_thread().name.split("_")[0]
    assert names == {"load": {"load"}, "compute": {here}, "save": {"save"}}


def test_the_next_is_loaded_and_the_last_saved_while_one_is_computed() -> None:
    # Each stage waits for the others to have begun: without overlap nobody would ever go on.
    loading, saving = threading.Event(), threading.Event()
    computing = threading.Event()

    def slow_load(source: str) -> str:
        if source == "c":
            loading.set()
            assert computing.wait(PATIENCE)
        return source

    def slow_compute(loaded: str, target: str) -> str:
        if loaded == "b":
            computing.set()
            assert loading.wait(PATIENCE)
            assert saving.wait(PATIENCE)
        return loaded

    def slow_save(computed: str, target: str) -> JobResult:
        if computed == "a":
            saving.set()
            assert computing.wait(PATIENCE)
        return JobResult(())

    found = run([job(c) for c in "abcd"], 1, slow_load, slow_compute, slow_save)
    assert [case for case, _ in found] == list("abcd")


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_than_a_few_are_in_memory(threads: int) -> None:
    # Saving is stuck until everything that may be loaded has been: then the pipeline must wait.
    lock, full = threading.Lock(), threading.Event()
    alive: set[str] = set()
    most = 0

    def count_load(source: str) -> str:
        nonlocal most
        with lock:
            alive.add(source)
            most = max(most, len(alive))
            if len(alive) == 2 * threads + 1:
                full.set()
        return source

    def count_save(computed: str, target: str) -> JobResult:
        assert full.wait(PATIENCE)
        with lock:
            alive.discard(computed)
        return JobResult(())

    run([job(f"{n:02d}") for n in range(30)], threads, count_load, lambda x, t: x, count_save)
    # Loaded ahead, being computed, waiting to be saved.
    assert most == 2 * threads + 1


def test_jobs_with_the_same_source_share_its_loading() -> None:
    loaded: list[str] = []

    def count(source: str) -> str:
        loaded.append(source)
        return source

    jobs = [job("a1", "a"), job("a2", "a"), job("a3", "a"), job("b1", "b"), job("b2", "b")]
    found = run(jobs, 1, count)
    assert loaded == ["a", "b"]
    assert [case for case, _ in found] == ["a1", "a2", "a3", "b1", "b2"]


@pytest.mark.parametrize("stage", ["load", "compute", "save"])
def test_a_failed_stage_ends_its_own_case_only(stage: str) -> None:
    def refuse(wanted: str, value: Any, result: Any) -> Any:
        if stage == wanted and "b" in str(value):
            raise VsudaError("b.nii.gz", "is wrong", "fix it")
        return result

    found = run(
        [job("a"), job("b"), job("c")],
        load=lambda s: refuse("load", s, s),
        compute=lambda x, t: refuse("compute", x, x),
        save=lambda x, t: refuse("save", x, JobResult(())),
    )
    assert [case for case, _ in found] == ["a", "b", "c"]
    assert found[1][1] == Failure("b", "b.nii.gz: is wrong; fix it")
    assert isinstance(found[0][1], JobResult)
    assert isinstance(found[2][1], JobResult)


def test_a_shared_loading_that_fails_fails_each_job_under_its_name() -> None:
    def refuse(source: str) -> str:
        raise OSError(28, "No space left on device", "a.nii.gz")

    found = run([job("a1", "a"), job("a2", "a")], load=refuse)
    assert [result.case for _, result in found if isinstance(result, Failure)] == ["a1", "a2"]


def test_an_error_of_ours_costs_its_case_and_is_told() -> None:
    def broken(source: str) -> str:
        return source if source == "b" else str(1 // 0)

    found = dict(run([job("a"), job("b")], load=broken))
    assert isinstance(found["a"], Failure)
    assert "ZeroDivisionError" in found["a"].message
    assert isinstance(found["b"], JobResult)


def test_stopping_early_finishes_what_is_being_saved() -> None:
    saved: list[str] = []
    started, go_on = threading.Event(), threading.Event()

    def slow_save(computed: str, target: str) -> JobResult:
        started.set()
        assert go_on.wait(PATIENCE)
        saved.append(computed)
        return JobResult(())

    def interrupt(loaded: str, target: str) -> str:
        if loaded == "b":
            assert started.wait(PATIENCE)
            go_on.set()
            raise KeyboardInterrupt
        return loaded

    with pytest.raises(KeyboardInterrupt):
        run([job(c) for c in "abc"], 1, load, interrupt, slow_save)
    assert saved == ["a"]
    assert not [t for t in threading.enumerate() if t.name.startswith(("load", "save"))]
