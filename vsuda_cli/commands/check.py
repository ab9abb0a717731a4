"""`vsuda check`: say what is wrong with folders of images, and write repaired copies."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli import console
from vsuda_cli.errors import counted
from vsuda_cli.options import BatchOptions, ClassNames, expand_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vsuda_cli.io.batch import JobResult, Outcome
    from vsuda_cli.io.inspection import Finding


@expand_options
def check(
    folders: Annotated[list[Path], typer.Argument(help="Folders of images and label maps.")],
    options: BatchOptions,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="DIR", help="Write repaired copies of all files there."),
    ] = None,
    classes: ClassNames = None,
) -> None:
    """Say what is wrong with folders of images: one table per folder, exit code 1 on errors.

    Looked at: damaged files, geometry, sform against qform, axes, labels, NaN, duplicates, image
    and label pairs. With --fix, a copy of every file that can be put right for certain is written
    and the changes are listed; the folders themselves are only read. What is still wrong with the
    copies, as labels that nobody knows, is told, and is exit code 1 too.

    Example: vsuda check data/source_training data/target_training --fix repaired
    """
    from vsuda_cli.commands.running import finish
    from vsuda_cli.commands.structures import parse_classes
    from vsuda_cli.io.cases import refuse_same_folder, take_shard
    from vsuda_cli.io.inspection import nifti_files

    console.set_up_logging(options.quiet, options.verbose)
    count = len(parse_classes(classes)) + 1
    files = {folder: nifti_files(folder) for folder in folders}
    errors = 0
    if fix is None:
        for folder, paths in files.items():
            shared = take_shard(paths, options.shard)
            if not shared:
                console.say(f"{folder}: this share has no files ({options.shard} of {len(paths)})")
                continue
            errors += _inspect(folder, shared, count, options, to_stderr=False)
    else:
        # Several folders may hold files of the same name.
        targets = {
            folder: fix if len(files) == 1 else fix / folder.resolve().name for folder in files
        }
        for target in (fix, *targets.values()):
            refuse_same_folder(target, folders)
        outcome, copies = _repair(files, targets, options)
        # What nobody can know stays wrong: whole files with unknown labels, pairs that do not fit.
        for folder, paths in copies.items():
            errors += _inspect(folder, paths, count, options, to_stderr=True)
        finish(outcome)
    if errors:
        raise typer.Exit(1)


def _repair(
    files: "Mapping[Path, Sequence[Path]]", targets: "Mapping[Path, Path]", options: BatchOptions
) -> "tuple[Outcome, dict[Path, list[Path]]]":
    """Write repaired copies, each folder's to its target; also return those there, by folder."""
    from vsuda_cli.commands.running import run_cases
    from vsuda_cli.io.batch import Job

    jobs = []
    for folder, paths in files.items():
        for path in paths:
            copy = targets[folder] / (path.name if path.name.endswith(".gz") else path.name + ".gz")
            jobs.append(Job(str(path), (copy,), (path, copy)))
    outcome = run_cases("Repairing", jobs, repair_one, options)
    copies: dict[Path, list[Path]] = {}
    for job in jobs:
        (copy,) = job.outputs
        if (job.case in outcome.results and not options.dry_run) or job.case in outcome.skipped:
            copies.setdefault(copy.parent, []).append(copy)
    return outcome, copies


def _inspect(
    folder: Path, paths: "Sequence[Path]", count: int, options: BatchOptions, *, to_stderr: bool
) -> int:
    """Look at files of one folder, report what is wrong, and return the number of errors."""
    from vsuda_cli.io.batch import Failure, Job
    from vsuda_cli.io.inspection import ERROR, Inspection, inspect_file, inspect_folder
    from vsuda_cli.io.workers import run

    looked: dict[Path, Inspection] = {}
    failures = 0
    jobs = [Job(str(path), (), (path, count)) for path in paths]
    with console.progress(f"Checking {folder}", len(jobs)) as bar:
        for job, result in run(jobs, inspect_file, options.workers, options.dask):
            if isinstance(result, Failure):
                console.fail(result.message)
                failures += 1
            else:
                looked[Path(job.case)] = result
            bar.advance()
    found = [finding for path in sorted(looked) for finding in looked[path].findings]
    found.extend(inspect_folder(looked))
    _report(folder, found, as_json=options.as_json, to_stderr=to_stderr)
    wrong = failures + sum(finding.severity == ERROR for finding in found)
    warnings = len(found) + failures - wrong
    of_each = ((len(paths), "file"), (wrong, "error"), (warnings, "warning"))
    console.say(f"{folder}: {', '.join(counted(*one) for one in of_each)}")
    return wrong


def repair_one(path: Path, out: Path) -> "JobResult":
    """Write a repaired copy of one file; the notes say what was changed."""
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.cases import parse_name
    from vsuda_cli.io.repair import repair_file

    try:
        tag = parse_name(path).tag
    except VsudaError:
        tag = None
    repairs = repair_file(path, out, tag)
    notes = tuple(f"{path.name}: {line}" for line in repairs)
    return JobResult((out,), {"repairs": repairs}, notes)


def _report(folder: Path, findings: "list[Finding]", *, as_json: bool, to_stderr: bool) -> None:
    from vsuda_cli.commands.tables import print_table
    from vsuda_cli.errors import printable

    if as_json:
        for finding in findings:
            console.emit_json({**dataclasses.asdict(finding), "path": str(finding.path)})
    elif findings:
        rows = [
            (finding.severity, printable(finding.path.name), finding.problem, finding.remedy)
            for finding in findings
        ]
        head = ("severity", "file", "problem", "remedy")
        title = printable(folder)
        print_table(title, head, rows, text_columns=len(head), to_stderr=to_stderr)
