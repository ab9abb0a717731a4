"""`vsuda evaluate`: score predictions against references."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import ClassNames, LogOptions, WorkerOptions, expand_options


@dataclasses.dataclass(frozen=True)
class ScoreOptions(LogOptions, WorkerOptions):
    """What evaluate shares with other commands; its --json is a file, its data a table."""

    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written; score nothing.")
    ] = False
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Score every N-th case, from the I-th; each share is a table of its own.",
        ),
    ] = None


@expand_options
def evaluate(
    predictions: Annotated[
        str, typer.Argument(help="Folder of <case>_Label, one file, or -: paths on stdin.")
    ],
    references: Annotated[str, typer.Argument(help="Folder of the true <case>_Label.")],
    options: ScoreOptions,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write one row per case.")
    ] = None,
    json: Annotated[
        # Not VSUDA_JSON: for all other commands that is a switch.
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            envvar="VSUDA_JSON_FILE",
            help="Write scores and summary as JSON.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE", help="Write a page with plots and pictures (HTML)."
        ),
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="DIR", help="Scans to show in the report.")
    ] = None,
    viewer: Annotated[
        bool,
        typer.Option("--viewer", help="Put NiiVue into the report, to go through the volumes."),
    ] = False,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups", metavar="FILE", help="CSV with columns `case` and what to group by."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="Summarise by this column of --groups (site unless given), or by the site in "
            "crossMoDA's case names.",
        ),
    ] = None,
    assd: Annotated[
        str,
        typer.Option(
            "--assd",
            metavar="challenge|pooled",
            help="Mean of the two directed means, or mean over all surface voxels.",
        ),
    ] = "challenge",
    hd95: Annotated[bool, typer.Option("--hd95", help="Add the 95% Hausdorff distance.")] = False,
    volume: Annotated[
        bool, typer.Option("--volume", help="Add volumes and their errors, in ml.")
    ] = False,
    surface_dice: Annotated[
        float | None,
        typer.Option(
            "--surface-dice", metavar="MM", min=0, help="Add the surface Dice at this tolerance."
        ),
    ] = None,
    detection: Annotated[
        bool,
        typer.Option("--detection", help="Count components found, missed and falsely found."),
    ] = False,
    classes: ClassNames = None,
) -> None:
    """Score predictions: Dice and average symmetric surface distance per structure.

    A reference without a prediction is a failed case. A structure that a prediction lacks has a
    distance of 350 mm; one that the reference lacks has no distance, and its cell is empty.

    Example: vsuda evaluate final data/target_validation_labels --csv fused.csv --report r.html
    """
    from vsuda_cli import console
    from vsuda_cli.commands.results import (
        is_stdout,
        report_cases,
        show,
        write_csv,
        write_html,
        write_json,
    )
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.commands.scoring import Measures, find_pairs, group_cases, score_case
    from vsuda_cli.commands.structures import parse_classes
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.writable import require_writable_files
    from vsuda_cli.options import BatchOptions

    console.set_up_logging(options.quiet, options.verbose)
    if assd not in ("challenge", "pooled"):
        raise VsudaError(f"--assd {assd}", "is unknown", "use challenge or pooled")
    if surface_dice == float("inf"):
        # JSON has no number for it, and whatever was found would score 1.
        raise VsudaError("--surface-dice inf", "is no tolerance", "give millimetres")
    if images is not None and report is None:
        raise VsudaError("--images", "is for the report", "give --report FILE.html too")
    if viewer and report is None:
        raise VsudaError("--viewer", "is for the report", "give --report FILE.html too")
    streamed = [path for path in (csv, json) if is_stdout(path)]
    if is_stdout(report) or len(streamed) > 1:
        raise VsudaError("-", "is one table or one JSON text", "give files for the others")
    outputs = [p for p in (csv, json, report) if p is not None and not is_stdout(p)]
    require_writable_files(outputs)
    existing = [path for path in outputs if path.exists()]
    if existing and not options.force:
        raise VsudaError(existing[0], "exists already", "use --force")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise VsudaError(outputs[0], "is named for two outputs", "give different files")
    if groups is not None and groups.resolve() in {path.resolve() for path in outputs}:
        raise VsudaError(groups, "is read as --groups, and would be replaced", "give another file")
    names = parse_classes(classes)
    measures = Measures(names, assd == "pooled", hd95, volume, surface_dice, detection)
    pairs = find_pairs(predictions, references, images)
    column, group_of = group_cases(groups, by, pairs)
    niivue = ""
    if viewer:
        from vsuda_cli.report.viewer import niivue_script

        niivue = niivue_script()
    draw = report is not None
    jobs = [Job(pair.case, (), (pair, measures, draw, viewer)) for pair in pairs]
    batch = BatchOptions(
        quiet=options.quiet,
        verbose=options.verbose,
        shard=options.shard,
        workers=options.workers,
        dask=options.dask,
        dry_run=options.dry_run,
    )
    outcome = run_cases("Scoring", jobs, score_case, batch)
    if options.dry_run:
        for path in outputs:
            console.say(f"would be written: {path}")
        return
    cases = report_cases(outcome, group_of)
    show(cases, measures, column, to_stderr=bool(streamed))
    if csv is not None:
        write_csv(csv, cases, measures)
    if json is not None:
        write_json(json, cases, measures, column)
    if report is not None:
        write_html(report, cases, measures, column, pairs, niivue)
    finish(outcome)
