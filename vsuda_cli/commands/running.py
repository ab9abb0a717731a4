"""How a command that works case by case runs, reports and ends."""

from collections.abc import Callable, Sequence

import typer

from vsuda_cli import console
from vsuda_cli.io.atomic import remove_leftovers
from vsuda_cli.io.batch import Failure, Job, JobResult, Outcome, plan
from vsuda_cli.io.cases import take_shard
from vsuda_cli.io.workers import run
from vsuda_cli.options import BatchOptions, CaseOptions


def run_cases(
    title: str,
    jobs: Sequence[Job],
    function: Callable[..., JobResult],
    options: CaseOptions,
) -> Outcome:
    """Run `function(*job.arguments)` for this call's share of the jobs and report each result.

    Written paths go to stdout (or a JSON object a case with `--json`), notes and progress to
    stderr. With `--dry-run` the paths are printed and nothing is written. `function` must be a
    module-level function, so that worker processes can import it.

    Raises VsudaError before anything starts if an output exists and neither `--force` nor
    `--skip-existing` is set.
    """
    console.set_up_logging(options.quiet, options.verbose)
    share = take_shard(sorted(jobs, key=lambda job: job.case), options.shard)
    to_run, skipped = plan(share, force=options.force, skip_existing=options.skip_existing)
    outcome = Outcome(skipped=skipped)
    if skipped:
        console.say(f"{title}: {len(skipped)} of {len(share)} cases are there already")
    if options.dry_run:
        for job in to_run:
            _report(job, JobResult(job.outputs, {"dry_run": True}), options)
        return outcome
    batch = options if isinstance(options, BatchOptions) else BatchOptions()
    remove_leftovers(path.parent for job in to_run for path in job.outputs)
    with console.progress(title, len(to_run)) as bar:
        for job, result in run(to_run, function, batch.workers, batch.dask):
            if isinstance(result, Failure):
                outcome.failures.append(result)
                if options.as_json:
                    console.emit_json({"case": job.case, "error": result.message})
            else:
                outcome.results[job.case] = result
                _report(job, result, options)
            bar.advance(note=job.case)
    return outcome


def finish(outcome: Outcome) -> None:
    """List the failed cases last and end the command with exit code 1 if there are any."""
    for failure in sorted(outcome.failures, key=lambda failure: failure.case):
        console.fail(failure.message)
    if outcome.failures:
        done = len(outcome.results) + len(outcome.skipped)
        console.fail(f"{len(outcome.failures)} cases failed, {done} are done")
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
