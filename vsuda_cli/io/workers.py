"""Cases over this machine's processes or a cluster's; a process that dies costs its own case."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from vsuda_cli.io.batch import Failure, Job, Result, attempt
from vsuda_cli.io.libraries import loudness, set_loudness
from vsuda_cli.io.memory import keep_freed_memory

logger = logging.getLogger(__name__)

# What OpenMP, OpenBLAS, MKL and ITK read.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
# One case being worked on and one waiting: no worker idles, and memory does not grow with the
# number of cases.
CASES_PER_WORKER = 2
# How often a worker looks whether its command is still there.
SECONDS_BETWEEN_LOOKS = 1.0


def run(
    jobs: Sequence[Job],
    function: Callable[..., Result],
    workers: int,
    dask: str | None = None,
) -> Iterator[tuple[Job, Result | Failure]]:
    """Yield each job with its result or failure, as they finish.

    `function` is called with the job's arguments: by the workers of the dask scheduler at `dask`
    when that is given, in this process when `workers` is 1, else in worker processes that share
    the machine's cores.
    """
    if not jobs:
        return
    if dask is not None:
        from vsuda_cli.io.cluster import run_on_cluster

        yield from run_on_cluster(jobs, function, dask)
    elif workers == 1:
        for job in jobs:
            yield job, attempt(function, job)
    else:
        yield from _run_here(jobs, function, workers)


def _run_here(
    jobs: Sequence[Job], function: Callable[..., Result], workers: int
) -> Iterator[tuple[Job, Result | Failure]]:
    waiting = deque(jobs)
    while waiting:
        # When a worker is killed its pool ends, and nobody can tell which of the cases handed out
        # it had. These are tried again one at a time, where the culprit is the one that was out;
        # then a new pool takes the others.
        suspects = deque((yield from _run_pool(waiting, function, workers)))
        while suspects:
            for job in (yield from _run_pool(suspects, function, 1)):
                killed = "its worker process was killed (out of memory?); use fewer --workers"
                yield job, Failure(job.case, f"{job.case}: {killed}")


def _run_pool(
    waiting: deque[Job], function: Callable[..., Result], workers: int
) -> Generator[tuple[Job, Result | Failure], None, list[Job]]:
    """Work on cases until none is left or a worker dies; return those it may have been at."""
    from joblib.externals.loky import ProcessPoolExecutor

    # Set before a worker loads any library: NumPy's reads its limit when it is imported.
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    limits = dict.fromkeys(THREAD_LIMITS, threads)
    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(waiting)),
        env=limits,
        initializer=_begin,
        initargs=(os.getpid(), loudness()),
    )
    most_out = 1 if workers == 1 else CASES_PER_WORKER * workers
    running: dict[Future[Result | Failure], Job] = {}
    suspects: list[Job] = []
    try:
        while running or (waiting and not suspects):
            while waiting and not suspects and len(running) < most_out:
                job = waiting.popleft()
                try:
                    running[pool.submit(attempt, function, job)] = job
                except BrokenProcessPool:
                    suspects.append(job)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    logger.debug("a worker died while %s was unfinished", job.case)
                    suspects.append(job)
                else:
                    yield job, result
    finally:
        # Normally all is done by now; on an interruption nobody waits for what is left.
        pool.shutdown(wait=True, kill_workers=bool(running))
    return suspects


def _begin(command: int, libraries: int) -> None:
    """Begin a worker process of a command; libraries log from this level on."""
    keep_freed_memory()
    set_loudness(libraries)
    _end_with(command)


def _end_with(command: int) -> None:
    """End this worker process soon after the command that started it.

    Where that was killed, nobody else tells its workers, and they would wait for cases for ever.
    """

    def watch() -> None:
        while os.getppid() == command:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
