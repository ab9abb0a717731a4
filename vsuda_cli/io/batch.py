"""One function over many cases: what is to be done, and what became of each."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vsuda_cli.errors import VsudaError, file_of
from vsuda_cli.io.nifti import is_whole
from vsuda_cli.io.writable import require_writable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One case to work on: its outputs, and the arguments for the function that makes them.

    `siblings` are files that this command writes for the case only with other options. A leftover
    one would not match the new outputs, so `plan` refuses it.
    """

    case: str
    outputs: tuple[Path, ...]
    arguments: tuple[Any, ...]
    siblings: tuple[Path, ...] = ()


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

    Raises VsudaError when an output exists and neither `force` nor `skip_existing` is set, when its
    folder cannot be written to, or when a sibling of an earlier call would be taken for one of this
    call: nothing has been started then. A case is skipped only if all its outputs are there and
    whole.
    """
    _refuse_colliding_outputs(jobs)
    require_writable(path.parent for job in jobs for path in job.outputs)
    to_run, skipped = _split(jobs, force=force, skip_existing=skip_existing)
    for job in to_run:
        for path in job.siblings:
            if os.path.lexists(path):
                problem = "is of an earlier call, and would lie beside other outputs than its own"
                raise VsudaError(path, problem, "write it anew too, take it away, or change OUT")
    return to_run, skipped


def _split(jobs: Sequence[Job], *, force: bool, skip_existing: bool) -> tuple[list[Job], list[str]]:
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


def attempt(function: Callable[..., Result], job: Job) -> Result | Failure:
    """Do one case; what a user can act on becomes its failure."""
    try:
        return function(*job.arguments)
    except VsudaError as error:
        return Failure(job.case, str(error))
    except OSError as error:
        where = file_of(error, job.case)
        return Failure(job.case, f"{where}: {error.strerror or error}; check space and permissions")
    except MemoryError:
        return Failure(job.case, f"{job.case}: out of memory; use fewer --workers")
    except Exception as error:
        # A fault of ours or of a library's (ITK raises RuntimeError) costs its case, not the run.
        logger.debug("%s", job.case, exc_info=True)
        kind = type(error).__name__
        return Failure(job.case, f"{job.case}: {kind}: {error}; please report this, with -vv")
