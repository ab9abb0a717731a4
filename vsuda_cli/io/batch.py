"""Run one function over many cases: existing outputs, worker processes, failures, outcome."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.nifti import is_whole

logger = logging.getLogger(__name__)

# What OpenMP, OpenBLAS, MKL and ITK read.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class Job:
    """One case to work on: its outputs, and the arguments for the function that makes them."""

    case: str
    outputs: tuple[Path, ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class JobResult:
    """What one case gave: written files, extra keys for `--json`, lines for the user."""

    written: tuple[Path, ...]
    record: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A case that could not be done, and why."""

    case: str
    message: str


@dataclass
class Outcome:
    """The results of a batch, as they come in."""

    results: dict[str, JobResult] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when every case is done, 1 when some failed."""
        return 1 if self.failures else 0


def plan(jobs: Sequence[Job], *, force: bool, skip_existing: bool) -> tuple[list[Job], list[str]]:
    """Return the jobs to run and the cases to skip.

    Raises VsudaError when an output exists and neither `force` nor `skip_existing` is set: nothing
    has been started then. A case is skipped only if all its outputs are there and whole.
    """
    _refuse_colliding_outputs(jobs)
    if force:
        return list(jobs), []
    to_run, skipped = [], []
    for job in jobs:
        existing = [path for path in job.outputs if path.exists()]
        if existing and not skip_existing:
            raise VsudaError(existing[0], "exists already", "use --force or --skip-existing")
        if job.outputs and all(is_whole(path) for path in job.outputs):
            skipped.append(job.case)
        else:
            to_run.append(job)
    return to_run, skipped


def _refuse_colliding_outputs(jobs: Sequence[Job]) -> None:
    seen: dict[Path, str] = {}
    for job in jobs:
        for path in job.outputs:
            if path in seen:
                raise VsudaError(
                    path, f"would be written for {seen[path]} and for {job.case}", "rename one case"
                )
            seen[path] = job.case


def run(
    jobs: Sequence[Job], function: Callable[..., JobResult], workers: int
) -> Iterator[tuple[Job, JobResult | Failure]]:
    """Yield each job with its result or failure, as they finish.

    `function` is called with the job's arguments, in this process when `workers` is 1, else in
    worker processes that share the machine's cores. A worker that dies ends its own case only.
    """
    if workers == 1:
        for job in jobs:
            yield job, _attempt(function, job)
        return
    if not jobs:
        return
    unfinished = list(jobs)
    for job, outcome in _run_pool(jobs, function, workers):
        unfinished.remove(job)
        yield job, outcome
    # The pool broke: some worker was killed, and nobody can tell which case it had. Each case left
    # is tried in a process of its own, so that only the culprit fails.
    for job in unfinished:
        died = Failure(
            job.case,
            f"{job.case}: its worker process was killed (out of memory?); use fewer --workers",
        )
        alone = [outcome for _, outcome in _run_pool([job], function, 1)]
        yield job, alone[0] if alone else died


def _run_pool(
    jobs: Sequence[Job], function: Callable[..., JobResult], workers: int
) -> Iterator[tuple[Job, JobResult | Failure]]:
    from joblib.externals.loky import ProcessPoolExecutor

    # Set before a worker loads any library: NumPy's reads its limit when it is imported.
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    limits = dict.fromkeys(THREAD_LIMITS, threads)
    with ProcessPoolExecutor(max_workers=min(workers, len(jobs)), env=limits) as pool:
        futures = {}
        try:
            for job in jobs:
                futures[pool.submit(_attempt, function, job)] = job
        except BrokenProcessPool:
            logger.debug("a worker died before all cases were handed out")
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                logger.debug("a worker died while %s was unfinished", futures[future].case)


def _attempt(function: Callable[..., JobResult], job: Job) -> JobResult | Failure:
    try:
        return function(*job.arguments)
    except VsudaError as error:
        return Failure(job.case, str(error))
    except OSError as error:
        where = error.filename or job.case
        return Failure(job.case, f"{where}: {error.strerror or error}; check space and permissions")
    except MemoryError:
        return Failure(job.case, f"{job.case}: out of memory; use fewer --workers")
