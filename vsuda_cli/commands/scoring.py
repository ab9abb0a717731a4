"""What `evaluate` does with a case, and how it shows and writes scores."""

import datetime
import json as json_text
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsuda_cli import __version__, console
from vsuda_cli.commands.tables import number, print_table
from vsuda_cli.errors import VsudaError, printable
from vsuda_cli.io.batch import JobResult, Outcome
from vsuda_cli.io.cases import find_images, find_labels

if TYPE_CHECKING:
    from vsuda_cli.report.model import ReportCase
    from vsuda_cli.report.summary import SummaryRow


@dataclass(frozen=True)
class Pair:
    """A case's reference, its prediction if there is one, and its scan if it is to be shown."""

    case: str
    reference: Path
    prediction: Path | None
    scan: Path | None


@dataclass(frozen=True)
class Measures:
    """The structures (labels 1, 2, ...) and what is measured of each."""

    structures: tuple[str, ...]
    pooled: bool = False
    hd95: bool = False
    volume: bool = False
    surface_dice_mm: float | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, as columns have them."""
        names = ["Dice", "ASSD"]
        names += ["HD95"] if self.hd95 else []
        names += ["SurfaceDice"] if self.surface_dice_mm is not None else []
        names += ["Volume", "VolumeError"] if self.volume else []
        return tuple(names)

    @property
    def columns(self) -> list[str]:
        """Names of the score columns, `<structure>_<metric>`."""
        return [f"{s}_{m}" for s in self.structures for m in self.metrics]


def find_pairs(predictions: str, references: str, images: str | None) -> list[Pair]:
    """Pair references with predictions and scans by case id.

    A prediction without a reference, and a case without a scan to show, are named on stderr.
    """
    predicted = {file.case: file.path for file in find_labels(predictions)}
    truth = {file.case: file.path for file in find_labels(references)}
    scans = {} if images is None else {file.case: file.path for file in find_images(images)}
    for case in sorted(set(predicted) - set(truth)):
        console.say(f"{case}: ignored, it has no reference in {references}")
    if images is not None:
        for case in sorted(set(truth) - set(scans)):
            console.say(f"{case}: no scan in {images}, the report shows outlines only")
    return [Pair(c, path, predicted.get(c), scans.get(c)) for c, path in sorted(truth.items())]


def score_case(pair: Pair, measures: Measures, draw: bool) -> JobResult:
    """Score one case; the record holds its `scores` by column and, if asked for, its `drawing`."""
    from vsuda_cli.images.metrics import joint_box, score_structure
    from vsuda_cli.io.nifti import load_image, load_label, same_grid

    if pair.prediction is None:
        raise VsudaError(pair.reference, "has no prediction", f"predict case {pair.case}")
    class_count = len(measures.structures) + 1
    prediction = load_label(pair.prediction, class_count)
    reference = load_label(pair.reference, class_count)
    if not same_grid(prediction, reference):
        problem = f"is on another grid than {pair.reference}"
        raise VsudaError(pair.prediction, problem, "put it back: vsuda postprocess --like SCANS")
    box = joint_box(prediction.array, reference.array)
    ours, theirs = prediction.array[box], reference.array[box]
    scores: dict[str, float | None] = {}
    for value, structure in enumerate(measures.structures, start=1):
        inner = joint_box(ours == value, theirs == value)
        found = score_structure(
            ours[inner] == value,
            theirs[inner] == value,
            reference.spacing_mm,
            pooled=measures.pooled,
            with_hd95=measures.hd95,
            with_volume=measures.volume,
            tolerance_mm=measures.surface_dice_mm,
        )
        scores.update({f"{structure}_{metric}": found[metric] for metric in measures.metrics})
    if not draw:
        return JobResult((), {"scores": scores})
    from vsuda_cli.report.slices import draw_case

    notes: tuple[str, ...] = ()
    grey = None
    if pair.scan is not None:
        scan = load_image(pair.scan)
        if same_grid(scan, reference):
            grey = scan.array
        else:
            notes = (f"{pair.scan}: on another grid than the labels, the report does not show it",)
    drawing = draw_case(
        reference.array, prediction.array, grey, reference.affine, measures.structures
    )
    return JobResult((), {"scores": scores, "drawing": drawing}, notes)


def report_cases(outcome: Outcome) -> "list[ReportCase]":
    """Return all cases, failed ones too, sorted by name."""
    from vsuda_cli.report.model import ReportCase

    cases = [
        ReportCase(case, result.record["scores"], result.record.get("drawing"))
        for case, result in outcome.results.items()
    ]
    cases += [ReportCase(failure.case, error=failure.message) for failure in outcome.failures]
    return sorted(cases, key=lambda case: case.case)


def _summary(outcome: Outcome, measures: Measures) -> "list[SummaryRow]":
    from vsuda_cli.report.summary import summarise

    return summarise(report_cases(outcome), measures.structures, measures.metrics)


def show(outcome: Outcome, measures: Measures) -> None:
    """Print the table of structures and metrics; say where a metric is not defined."""
    head = ["", "cases", "mean", "sd", "median", "25%", "75%"]
    rows = []
    for row in _summary(outcome, measures):
        figures = (row.mean, row.sd, row.median, row.lower_quartile, row.upper_quartile)
        name = f"{row.structure} {row.metric}{_unit(row.metric, measures)}"
        rows.append([name, str(row.count), *(number(value, 4) for value in figures)])
        if row.count < len(outcome.results):
            absent = len(outcome.results) - row.count
            console.say(f"{row.structure} {row.metric}: not defined in {absent} cases, not counted")
    print_table(f"{len(outcome.results)} cases", head, rows)


def _unit(metric: str, measures: Measures) -> str:
    if metric == "SurfaceDice":
        return f" at {measures.surface_dice_mm:g} mm"
    units = {"ASSD": " (mm)", "HD95": " (mm)", "Volume": " (ml)", "VolumeError": " (ml)"}
    return units.get(metric, "")


def write_files(
    outcome: Outcome, measures: Measures, csv: Path | None, json: Path | None, report: Path | None
) -> None:
    """Write the files that were asked for; each is named on stderr."""
    from vsuda_cli.io.atomic import write_text
    from vsuda_cli.io.scores import write_scores

    cases = report_cases(outcome)
    if csv is not None:
        rows = {case.case: case.scores for case in cases if not case.failed}
        write_scores(csv, measures.columns, rows)
    if json is not None:
        content: dict[str, Any] = {
            "structures": measures.structures,
            "assd": "pooled" if measures.pooled else "challenge",
            "surface_dice_mm": measures.surface_dice_mm,
            "cases": [{"case": c.case, **c.scores} for c in cases if not c.failed],
            "failed": [{"case": c.case, "error": c.error} for c in cases if c.failed],
            "summary": [vars(row) for row in _summary(outcome, measures)],
        }
        write_text(json, json_text.dumps(content, indent=1) + "\n")
    if report is not None:
        from vsuda_cli.report.page import write_report

        foot = {
            "command": " ".join(printable(word) for word in ["vsuda", *sys.argv[1:]]),
            "version": __version__,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }
        write_report(report, "Scores", measures.structures, measures.metrics, cases, foot)
    for path in (csv, json, report):
        if path is not None:
            console.say(f"written: {path}")
