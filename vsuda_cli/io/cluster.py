"""Cases over the workers of a dask scheduler, as sites start them on SLURM, PBS or Kubernetes."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from vsuda_cli import __version__
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import Failure, Job, Result, attempt

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 20
# Cases handed to the scheduler at once: enough for a cluster that grows with what is waiting, and
# memory does not grow with the number of cases.
LEAST_WAITING = 32
CASES_PER_WORKER = 2
# How often a call that waits looks whether there are workers at all.
PATIENCE_SECONDS = 30
_one_case_at_a_time = threading.Lock()


def run_on_cluster(
    jobs: Sequence[Job], function: Callable[..., Result], address: str
) -> Iterator[tuple[Job, Result | Failure]]:
    """Yield each job with its result or failure, as a cluster's workers finish them.

    `address` is the scheduler's (`tcp://host:port`) or the path of its scheduler file (`.json`).
    Workers need this version of vsuda and the same folders under the same paths. The case of a
    worker that dies goes to another one; after the scheduler's `allowed-failures` it is given up.

    Raises VsudaError if there is no scheduler to be reached.
    """
    # Not joblib's dask backend: there one worker killed too often ends the whole call, while the
    # scheduler tells by case; and a finished case could be done again when its worker dies later.
    distributed = _import_distributed()
    client = _connect(distributed, address)
    waiting = deque(jobs)
    running: dict[Any, Job] = {}
    try:
        _look_at_workers(client, address)
        while waiting or running:
            most = max(LEAST_WAITING, CASES_PER_WORKER * len(client.nthreads()))
            while waiting and len(running) < most:
                job = waiting.popleft()
                future = client.submit(
                    _attempt_there, function, job, Path.cwd(), __version__, pure=False, retries=0
                )
                running[future] = job
            try:
                done = distributed.wait(list(running), PATIENCE_SECONDS, "FIRST_COMPLETED").done
            except TimeoutError:
                _look_at_workers(client, address)
                continue
            for future in done:
                job = running.pop(future)
                yield job, _result(distributed, future, job)
                # Otherwise the scheduler does a finished case again if its worker dies later.
                future.release()
    except (CancelledError, OSError) as error:
        logger.debug("%s", error)
        for job in [*running.values(), *waiting]:
            lost = f"the scheduler at {address} was lost; start one, rerun with --skip-existing"
            yield job, Failure(job.case, f"{job.case}: {lost}")
        running.clear()
    finally:
        client.cancel(list(running), force=True)
        client.close()


def _import_distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise VsudaError("--dask", "needs dask.distributed", "pip install 'vsuda[dask]'") from error
    return distributed


def _connect(distributed: Any, address: str) -> Any:
    place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    if "scheduler_file" in place and not Path(address).exists():
        raise VsudaError(f"--dask {address}", "does not exist", "start: dask scheduler")
    try:
        return distributed.Client(**place, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise VsudaError(
            f"--dask {address}", f"reaches no scheduler ({error})", "start one: dask scheduler"
        ) from error


def _look_at_workers(client: Any, address: str) -> None:
    threads = client.nthreads()
    if not threads:
        logger.warning("the scheduler at %s has no workers; waiting for some", address)
    elif max(threads.values()) > 1:
        logger.info("each worker process takes one case at a time: give it one thread")


def _result(distributed: Any, future: Any, job: Job) -> Any:
    """Return what a case gave in a worker, or its failure."""
    try:
        return future.result()
    except distributed.KilledWorker:
        killed = "every worker that tried it was killed (out of memory?); give workers more memory"
        return Failure(job.case, f"{job.case}: {killed}")
    except (ImportError, AttributeError, RuntimeError) as error:
        # What a scheduler or worker without vsuda, or with another one, says when it gets a case.
        problem = f"the cluster cannot load vsuda ({error}); install the same everywhere"
        return Failure(job.case, f"{job.case}: {problem}")


def _attempt_there(
    function: Callable[..., Result], job: Job, folder: Path, version: str
) -> Result | Failure:
    """Do one case in a worker, in the folder that relative paths start from."""
    if version != __version__:
        problem = f"a worker has vsuda {__version__}, not {version}; install the same everywhere"
        return Failure(job.case, f"{job.case}: {problem}")
    # The current folder, the file mask and the libraries' threads belong to the whole process.
    with _one_case_at_a_time:
        before = Path.cwd()
        try:
            os.chdir(folder)
        except OSError as error:
            problem = f"a worker does not see {folder} ({error.strerror}); share it with all"
            return Failure(job.case, f"{job.case}: {problem}")
        try:
            return attempt(function, job)
        finally:
            os.chdir(before)
