"""Cases on their way through a device: loaded ahead and saved behind by threads, in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from vsuda_cli.io.batch import Failure, Job, JobResult, attempt


@dataclass(frozen=True)
class Stages:
    """What happens to a job whose arguments are (source, target).

    `load(source)` and `save(computed, target)` run in threads, `compute(loaded, target)` in the
    calling thread, which owns the device.
    """

    load: Callable[[Any], Any]
    compute: Callable[[Any, Any], Any]
    save: Callable[[Any, Any], JobResult]


def run_overlapped(
    jobs: Sequence[Job], stages: Stages, threads: int
) -> Iterator[tuple[Job, JobResult | Failure]]:
    """Yield each job with its result or failure, in the order of `jobs`.

    While one job is computed, the next `threads` are loaded and the last ones saved; no more than
    that is in memory, however slow the disk. Jobs that follow one another with the same source
    share one loading of it. When the caller stops early, what is being saved is finished.
    """
    loaders = ThreadPoolExecutor(threads, thread_name_prefix="load")
    savers = ThreadPoolExecutor(threads, thread_name_prefix="save")
    try:
        saves: deque[tuple[Job, Future[JobResult | Failure]]] = deque()
        for job, loading in _loaded_ahead(jobs, stages.load, loaders, threads):
            saves.append((job, _pass_on(job, loading.result(), stages, savers)))
            while saves and (saves[0][1].done() or len(saves) > threads):
                done, saving = saves.popleft()
                yield done, saving.result()
        for done, saving in saves:
            yield done, saving.result()
    finally:
        loaders.shutdown(cancel_futures=True)
        savers.shutdown(cancel_futures=True)


def _loaded_ahead(
    jobs: Sequence[Job], load: Callable[[Any], Any], loaders: ThreadPoolExecutor, ahead: int
) -> "Iterator[tuple[Job, Future[Any]]]":
    """Yield each job with its load, after starting the loads of the next `ahead` sources."""
    loads: deque[tuple[Job, Future[Any]]] = deque()
    last: tuple[Any, Future[Any]] | None = None
    distinct = 0
    waiting = deque(jobs)
    while waiting or loads:
        while waiting and distinct <= ahead:
            job = waiting.popleft()
            source = job.arguments[0]
            if last is None or last[0] != source:
                last = source, loaders.submit(attempt, load, replace(job, arguments=(source,)))
                distinct += 1
            loads.append((job, last[1]))
        job, loading = loads.popleft()
        if not loads or loads[0][1] is not loading:
            distinct -= 1
        yield job, loading


def _pass_on(
    job: Job, loaded: Any, stages: Stages, savers: ThreadPoolExecutor
) -> "Future[JobResult | Failure]":
    target = job.arguments[1]
    computed = loaded
    if not isinstance(loaded, Failure):
        computed = attempt(stages.compute, replace(job, arguments=(loaded, target)))
    if isinstance(computed, Failure):
        failed: Future[JobResult | Failure] = Future()
        # A shared loading fails each of its jobs under the job's own name.
        failed.set_result(Failure(job.case, computed.message))
        return failed
    return savers.submit(attempt, stages.save, replace(job, arguments=(computed, target)))
