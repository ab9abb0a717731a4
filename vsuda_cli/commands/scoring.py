"""What `evaluate` does with a case: find it, score it, draw it for the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vsuda_cli import console
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.batch import JobResult
from vsuda_cli.io.cases import find_images, find_labels


@dataclass(frozen=True)
class ScoredPair:
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
    detection: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, as columns have them."""
        names = ["Dice", "ASSD"]
        names += ["HD95"] if self.hd95 else []
        names += ["SurfaceDice"] if self.surface_dice_mm is not None else []
        names += ["Volume", "VolumeError"] if self.volume else []
        names += ["Found", "Missed", "False"] if self.detection else []
        return tuple(names)

    @property
    def columns(self) -> list[str]:
        """Names of the score columns, `<structure>_<metric>`."""
        return [f"{s}_{m}" for s in self.structures for m in self.metrics]

    def unit(self, metric: str) -> str:
        """Return what follows a metric's name in a table: its unit or tolerance, or nothing."""
        if metric == "SurfaceDice":
            return f" at {self.surface_dice_mm:g} mm"
        units = {"ASSD": " (mm)", "HD95": " (mm)", "Volume": " (ml)", "VolumeError": " (ml)"}
        return units.get(metric, "")


def find_pairs(predictions: str, references: str, images: str | None) -> list[ScoredPair]:
    """Pair references with predictions and scans by case id.

    A prediction without a reference, and a case without a scan to show, are named on stderr.
    Raises VsudaError if no case has both.
    """
    predicted = {file.case: file.path for file in find_labels(predictions)}
    truth = {file.case: file.path for file in find_labels(references)}
    scans = {} if images is None else {file.case: file.path for file in find_images(images)}
    for case in sorted(set(predicted) - set(truth)):
        console.say(f"{case}: ignored, it has no reference in {references}")
    if images is not None:
        for case in sorted(set(truth) - set(scans)):
            console.say(f"{case}: no scan in {images}, the report shows outlines only")
    if not set(predicted) & set(truth):
        problem = f"holds no prediction of a case in {references}"
        raise VsudaError(predictions, problem, "give label maps of the same cases")
    return [
        ScoredPair(c, path, predicted.get(c), scans.get(c)) for c, path in sorted(truth.items())
    ]


def group_cases(
    table: Path | None, by: str | None, pairs: Sequence[ScoredPair]
) -> tuple[str, dict[str, str]]:
    """Return the column that cases are grouped by and each case's group; nothing if neither is set.

    Without a table the only column is the site, as crossMoDA's case names tell it.
    """
    from vsuda_cli.io.groups import SITE, read_groups, sites

    cases = [pair.case for pair in pairs]
    column = by or SITE
    if table is not None:
        return column, read_groups(table, column, cases)
    if by is None:
        return "", {}
    if by != SITE:
        raise VsudaError(
            f"--by {by}", "is a column of a table, which is not given", "give --groups FILE.csv too"
        )
    return column, sites(cases)


def score_case(pair: ScoredPair, measures: Measures, draw: bool, viewer: bool = False) -> JobResult:
    """Score one case; the record holds its `scores` by column and, if asked for, its `drawing`.

    `viewer` adds the volumes that the report's viewer loads to the drawing.
    """
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
            with_detection=measures.detection,
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
        reference.array,
        prediction.array,
        grey,
        reference.affine,
        measures.structures,
        viewer=viewer,
    )
    return JobResult((), {"scores": scores, "drawing": drawing}, notes)
