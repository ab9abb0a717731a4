"""The report of `predict`: what was segmented, without scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vsuda_cli import console
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.writable import require_writable_files
from vsuda_cli.options import OutputOptions

if TYPE_CHECKING:
    from vsuda_cli.io.batch import Outcome
    from vsuda_cli.report.model import ReportCase


def check_report(report: Path | None, options: OutputOptions) -> None:
    """Refuse a report that exists, before anything starts; name it in a dry run.

    As in the run itself on stderr: it is none of the images that later commands read.
    """
    if report is None:
        return
    require_writable_files([report])
    if report.exists() and not (options.force or options.skip_existing):
        raise VsudaError(report, "exists already", "use --force or --skip-existing")
    if options.dry_run:
        console.say(f"would be written: {report}")


def report_predictions(
    report: Path | None,
    scans: Mapping[str, Path],
    labels: Mapping[str, Path],
    outcome: "Outcome",
    structures: Sequence[str],
) -> None:
    """Write a report of the label maps that are there now, new or skipped, and of failed cases.

    `scans` and `labels` map cases to files. Nothing is done without `report`.
    """
    done = [*outcome.results, *outcome.skipped]
    done = [case for case in done if labels[case].exists()]
    if report is None or not (done or outcome.failures):
        return
    from vsuda_cli.commands.report_foot import foot
    from vsuda_cli.report.model import Report, ReportCase
    from vsuda_cli.report.page import write_report

    cases = [_case(case, scans[case], labels[case], structures) for case in sorted(done)]
    cases += [ReportCase(failure.case, error=failure.message) for failure in outcome.failures]
    content = Report(
        title="Predictions",
        structures=structures,
        metrics=("Volume",),
        cases=cases,
        foot=foot([path for case in sorted(done) for path in (scans[case], labels[case])]),
        units={"Volume": " (ml)"},
        with_references=False,
    )
    write_report(report, content)
    console.say(f"written: {report}")


def _case(case: str, scan: Path, label: Path, structures: Sequence[str]) -> "ReportCase":
    from vsuda_cli.io.nifti import load_image, load_label, same_grid
    from vsuda_cli.report.model import ReportCase
    from vsuda_cli.report.slices import draw_case

    found, volume = load_label(label, len(structures) + 1), load_image(scan)
    # One kept by --skip-existing may be of an earlier version of its scan.
    grey = volume.array if same_grid(volume, found) else None
    if grey is None:
        console.say(f"{scan}: on another grid than {label}, the report does not show it")
    drawing = draw_case(None, found.array, grey, found.affine, structures)
    volumes = {f"{structure}_Volume": ml for structure, ml in drawing.volumes_ml.items()}
    return ReportCase(case, volumes, drawing)
