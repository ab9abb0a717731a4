"""What `vsuda atlas` works out: the most typical case, and the box around all its ears."""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsuda_cli import console
from vsuda_cli.errors import VsudaError
from vsuda_cli.images import cropping, ears
from vsuda_cli.images.geometry import Affine, Points, inverse, spacing_of, transform
from vsuda_cli.images.no_signal import padding_value
from vsuda_cli.images.pictures import Picture, contact_sheet
from vsuda_cli.images.registration import (
    Registration,
    Template,
    make_template,
    register_left,
    register_right,
)
from vsuda_cli.io.batch import Failure, Job, Result
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import load_image, load_label, load_label_on
from vsuda_cli.io.workers import run
from vsuda_cli.options import WorkerOptions

logger = logging.getLogger(__name__)

LabelledScan = tuple[CaseFile, Path]


@dataclass(frozen=True)
class BuiltAtlas:
    """The chosen case: image and region of interest (1 inside) on one grid, RAS mm."""

    image: CaseFile
    array: NDArray[np.float32]
    region: NDArray[np.uint8]
    label: NDArray[np.uint8]
    affine: Affine

    @property
    def region_corners_mm(self) -> Points:
        """The corners (8, 3) of the region of interest."""
        return cropping.region_corners(self.region, self.affine)


def build(
    scans: Sequence[LabelledScan], sample: int, margin_mm: float, processes: WorkerOptions
) -> BuiltAtlas:
    """Choose the most typical of the labelled cases and the box that holds every ear's labels.

    Raises VsudaError if a label map is empty or on another grid, or if fewer than half of the
    cases can be registered to the chosen one.
    """
    chosen = choose([image for image, _ in scans], sample, processes)
    logger.info("the most typical case is %s", chosen.case)
    jobs = [Job(image.case, (), (image, label, chosen)) for image, label in scans]
    boxes = gather(jobs, ear_boxes, processes)
    if 2 * len(boxes) < len(scans):
        raise VsudaError(
            chosen.path,
            f"only {len(boxes)} of {len(scans)} cases could be registered to it",
            "look at the source images with vsuda check",
        )
    every = np.array([box for both in boxes for box in both])
    label = next(path for image, path in scans if image == chosen)
    return _with_box(chosen, label, every[:, 0].min(axis=0), every[:, 1].max(axis=0), margin_mm)


def gather(
    jobs: Sequence[Job], work: Callable[..., Result], processes: WorkerOptions
) -> list[Result]:
    """Run jobs; return what they gave, sorted by case, without failures.

    Workers finish in any order, on which sums over the results must not depend.
    """
    found = []
    for job, result in _shown(jobs, work, processes):
        if isinstance(result, Failure):
            logger.warning("%s", result.message)
        else:
            found.append((job.case, result))
    return [value for _, value in sorted(found, key=lambda pair: pair[0])]


def _shown(
    jobs: Sequence[Job], work: Callable[..., Result], processes: WorkerOptions
) -> Iterator[tuple[Job, Result | Failure]]:
    """Run jobs with a progress bar."""
    with console.progress("Registering", len(jobs)) as bar:
        for job, result in run(jobs, work, processes.workers, processes.dask):
            yield job, result
            bar.advance()


def choose(images: Sequence[CaseFile], sample: int, processes: WorkerOptions) -> CaseFile:
    """Register an even sample of the cases against each other; return the one most like the rest.

    A pair that cannot be registered counts as similarity 0.
    """
    picked = [images[i] for i in ears.sample_evenly(len(images), sample)]
    if len(picked) == 1:
        return picked[0]
    jobs = []
    for (i, one), (j, other) in itertools.combinations(enumerate(picked), 2):
        jobs.append(Job(f"{i} {j}", (), (one, other)))
    table = np.zeros((len(picked), len(picked)))
    failures: list[str] = []
    for job, result in _shown(jobs, compare, processes):
        i, j = (int(part) for part in job.case.split())
        if isinstance(result, Failure):
            logger.debug("%s", result.message)
            failures.append(result.message)
        else:
            table[i, j] = table[j, i] = result
    if not table.any():
        raise VsudaError(
            picked[0].path.parent,
            f"holds no two cases that can be registered to each other ({min(failures)})",
            "look at the images with vsuda check",
        )
    return picked[ears.most_typical(table)]


def compare(one: CaseFile, other: CaseFile) -> float:
    """Register one case to another; return their similarity."""
    return register_right(one.path, read_template(one), read_template(other)).similarity


def ear_boxes(image: CaseFile, label_path: Path, atlas: CaseFile) -> list[tuple[Points, Points]]:
    """Register a labelled case to the atlas; return the boxes of its labelled structures.

    Each box is low and high corner in the atlas' voxel indices, canonical order; those of the left
    ear are mirrored onto the right.
    """
    label = load_label_on(load_image(image.path), label_path)
    array, affine = cropping.to_canonical(label.array, label.affine)
    if not array.any():
        raise VsudaError(label_path, "marks nothing", "give label maps of both ears")
    right, left = both_ears(image, read_template(image), atlas)
    atlas_volume = load_image(atlas.path)
    _, atlas_affine = cropping.to_canonical(atlas_volume.array, atlas_volume.affine)
    boxes = []
    for points in ears.components(array, affine):
        registration = right if _is_right(points, right, left) else left
        index = transform(inverse(atlas_affine) @ registration.to_atlas, points)
        boxes.append((index.min(axis=0), index.max(axis=0)))
    return boxes


def both_ears(
    image: CaseFile, scan: Template, atlas: CaseFile
) -> tuple[Registration, Registration]:
    """Register a scan's right and left ear to another scan, which may be the same one."""
    template = read_template(atlas)
    if image == atlas:
        right = Registration(np.eye(4), 1.0, "itself")
    else:
        right = register_right(image.path, scan, template)
    return right, register_left(image.path, scan, template, right)


def read_template(image: CaseFile) -> Template:
    """Load a scan for registration."""
    volume = load_image(image.path)
    return make_template(*cropping.to_canonical(volume.array, volume.affine))


def picture(built: BuiltAtlas, target: tuple[str, NDArray[np.float32]] | None = None) -> bytes:
    """Return a PNG of the atlas with its region (1) and its own labels (2 and up) outlined.

    `target`, a case and its image on the atlas' grid, is shown beside it, outlined alike: there
    one sees whether it lies where the atlas does.
    """
    shown = np.where(built.label > 0, built.label + 1, built.region).astype(np.uint8)
    spacing = spacing_of(built.affine)
    images = [(built.image.case, built.array), *([] if target is None else [target])]
    pictures = [Picture(case, array, spacing, shown) for case, array in images]
    return contact_sheet(pictures, len(pictures))


def _is_right(points: NDArray[np.float64], right: Registration, left: Registration) -> bool:
    """Tell whether a structure lies on the right: of itself and its mirror image, the one there."""
    centre = points.mean(axis=0)[None]
    mirrored = transform(inverse(right.to_atlas) @ left.to_atlas, centre)
    return bool(centre[0, 0] > mirrored[0, 0])


def _with_box(
    image: CaseFile,
    label_path: Path,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    margin_mm: float,
) -> BuiltAtlas:
    """Return the atlas, padded where the box reaches beyond its field of view."""
    volume, labels = load_image(image.path), load_label(label_path)
    array, affine = cropping.to_canonical(volume.array, volume.affine)
    label, _ = cropping.to_canonical(labels.array, volume.affine)
    margin = margin_mm / spacing_of(affine)
    first, last = np.floor(low - margin).astype(int), np.ceil(high + margin).astype(int)
    start = np.minimum(first, 0)
    size = np.maximum(last + 1, array.shape) - start
    outside = padding_value(array)
    padded, new_affine = cropping.cut_box(array, affine, start.tolist(), size.tolist(), outside)
    padded_label, _ = cropping.cut_box(label, affine, start.tolist(), size.tolist())
    region = np.zeros(padded.shape, dtype=np.uint8)
    a, b = first - start, last - start + 1
    region[a[0] : b[0], a[1] : b[1], a[2] : b[2]] = 1
    return BuiltAtlas(image, padded, region, padded_label, new_affine)
