"""How a command that works case by case runs, reports and ends."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import typer

from vsuda_cli import console
from vsuda_cli.errors import counted
from vsuda_cli.io.atomic import remove_leftovers
from vsuda_cli.io.batch import Failure, Job, JobResult, Outcome, plan
from vsuda_cli.io.cases import take_shard
from vsuda_cli.io.nifti import is_whole
from vsuda_cli.io.pipeline import Stages, run_overlapped
from vsuda_cli.io.workers import run
from vsuda_cli.options import BatchOptions, CaseOptions, NetworkOptions

# Threads beside a GPU; each holds one case in memory.
MOST_THREADS = 6


def run_cases(
    title: str,
    jobs: Sequence[Job],
    function: Callable[..., JobResult],
    options: BatchOptions,
) -> Outcome:
    """Run `function(*job.arguments)` for this call's share of the jobs and report each result.

    Written paths go to stdout (or a JSON object a case with `--json`), notes and progress to
    stderr. With `--dry-run` the paths are printed and nothing is written. `function` must be a
    module-level function, so that worker processes can import it.

    Raises VsudaError before anything starts if an output exists and neither `--force` nor
    `--skip-existing` is set.
    """
    console.set_up_logging(options.quiet, options.verbose)
    share = _take_share(title, jobs, options)
    start = partial(run, function=function, workers=options.workers, dask=options.dask)
    return _run_share(title, share, start, options)


def run_on_device(
    title: str,
    jobs: Sequence[Job],
    stages: Stages,
    make: Callable[[], Stages],
    options: NetworkOptions,
    threads: int,
) -> Outcome:
    """Run jobs (source, target) through a device, loading and saving beside it; like run_cases.

    Under torchrun each process takes its share of this call's share, and all end together. With
    --dask every worker makes the stages for itself: `make` is sent there, small and hashable, as
    networks are neither.
    """
    from vsuda_cli.training.ranks import end_together, launched

    console.set_up_logging(options.quiet, options.verbose)
    share = _take_share(title, jobs, options)
    rank, processes = int(os.environ.get("RANK", "0")), launched()
    if processes > 1:
        count, share = len(share), take_shard(share, f"{rank + 1}/{processes}")
        console.say(f"{title}: process {rank + 1} of {processes} takes {len(share)} of {count}")

    def start(to_run: Sequence[Job]) -> Iterator[tuple[Job, JobResult | Failure]]:
        if options.dask is None:
            return run_overlapped(to_run, stages, threads)
        there = [Job(job.case, job.outputs, (make, *job.arguments)) for job in to_run]
        return run(there, do_elsewhere, 1, options.dask)

    outcome = _run_share(title, share, start, options)
    end_together()
    return outcome


def do_elsewhere(make: Callable[[], Stages], source: Any, target: Any) -> JobResult:
    """Do one case in a process that has no stages yet, or those of the case before."""
    stages = _stages(make)
    return stages.save(stages.compute(stages.load(source), target), target)


@lru_cache(maxsize=1)
def _stages(make: Callable[[], Stages]) -> Stages:
    return make()


def rank_device(name: str) -> str:
    """Return the device of this process: under torchrun `auto` and `cuda` mean one GPU each."""
    import torch

    local, count = os.environ.get("LOCAL_RANK"), torch.cuda.device_count()
    if local is None or count == 0 or name not in ("auto", "cuda"):
        return name
    return f"cuda:{int(local) % count}"


def device_threads(device_type: str) -> int:
    """Return how many threads load, and how many save, beside a device.

    A GPU is faster than one of them; a CPU has better things to do than to wait for several.
    """
    return min(MOST_THREADS, os.cpu_count() or 1) if device_type == "cuda" else 1


def _say_if_made_anew(job: Job) -> None:
    """Say so where a case's outputs are there in part: what is there will be replaced."""
    if any(path.exists() for path in job.outputs):
        missing = [path.name for path in job.outputs if not is_whole(path)]
        console.say(f"{job.case}: made anew, for {', '.join(missing)} is missing or not whole")


def _take_share(title: str, jobs: Sequence[Job], options: CaseOptions) -> list[Job]:
    share = take_shard(sorted(jobs, key=lambda job: job.case), options.shard)
    if jobs and not share:
        # No error: an array job may have more tasks than there are cases.
        console.say(f"{title}: this share has no cases ({options.shard} of {len(jobs)})")
    return share


def _run_share(
    title: str,
    share: Sequence[Job],
    start: Callable[[Sequence[Job]], Iterator[tuple[Job, JobResult | Failure]]],
    options: CaseOptions,
) -> Outcome:
    to_run, skipped = plan(share, force=options.force, skip_existing=options.skip_existing)
    outcome = Outcome(skipped=skipped)
    if skipped:
        console.say(f"{title}: {len(skipped)} of {len(share)} cases are there already")
    if options.skip_existing:
        for job in to_run:
            _say_if_made_anew(job)
    if options.dry_run:
        for job in to_run:
            # Records beside the images are written too, but no later command reads them.
            named = tuple(path for path in job.outputs if path.suffix != ".json")
            _report(job, JobResult(named, {"dry_run": True}), options)
        return outcome
    folders = {path.parent for job in share for path in job.outputs}
    remove_leftovers(folders)
    with console.progress(title, len(to_run)) as bar:
        for job, result in start(to_run):
            if isinstance(result, Failure):
                outcome.failures.append(result)
                if options.as_json:
                    console.emit_json({"case": job.case, "error": result.message})
            else:
                outcome.results[job.case] = result
                _report(job, result, options)
            bar.advance(note=job.case)
    # Those of a killed command's workers, too, which end a second after it.
    remove_leftovers(folders)
    return outcome


def finish(outcome: Outcome) -> None:
    """List the failed cases last and end the command with exit code 1 if there are any."""
    for failure in sorted(outcome.failures, key=lambda failure: failure.case):
        console.fail(failure.message)
    if outcome.failures:
        done = len(outcome.results) + len(outcome.skipped)
        console.fail(f"{counted(len(outcome.failures), 'case')} failed, {done} done")
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _report(job: Job, result: JobResult, options: CaseOptions) -> None:
    for note in result.notes:
        console.say(note)
    if options.as_json:
        written = [str(path) for path in result.written]
        console.emit_json({"case": job.case, "written": written, **result.record})
    else:
        for path in result.written:
            console.emit_path(path)
