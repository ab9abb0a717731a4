"""What `vsuda crop` does with one case."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.commands.crop_records import Origin, read_record, record_of, write_record
from vsuda_cli.errors import VsudaError
from vsuda_cli.images import cropping, ears
from vsuda_cli.images.geometry import Affine, inverse, spacing_of, transform
from vsuda_cli.images.no_signal import padding_value
from vsuda_cli.images.registration import (
    Registration,
    Template,
    make_template,
    mirror_template,
    register_left,
    register_right,
)
from vsuda_cli.images.resampling import resample_image, resample_label
from vsuda_cli.io.batch import JobResult
from vsuda_cli.io.cases import LABEL, CaseFile, output_path
from vsuda_cli.io.nifti import (
    Volume,
    load_image,
    load_label,
    load_label_on,
    same_grid,
    save_image,
    save_label,
)

SIDES = {"both": (ears.RIGHT, ears.LEFT), "right": (ears.RIGHT,), "left": (ears.LEFT,)}
# The least share of the region that must lie in the field of view: an ear is in its middle. A slab
# may be thinner than the region and show the ear nonetheless: no more than its thickness counts.
LEAST_IN_VIEW = 0.4


@dataclass(frozen=True)
class CropSettings:
    """What every case of a call shares; `size` in voxels, None: as large as the atlas' region.

    `transforms` is a folder of records of an earlier call, None: every scan is registered.
    """

    atlas: Path
    roi: Path
    sides: tuple[str, ...]
    size: tuple[int, int, int] | None
    spacing_mm: tuple[float, float, float] | None
    transforms: Path | None = None


@dataclass(frozen=True)
class Atlas:
    """A loaded atlas: what to register to, and the corners (8, 3) of its region in mm.

    `digest` tells its image from any other: the same voxels in the same place have the same.
    """

    template: Template
    roi_corners_mm: NDArray[np.float64]
    digest: str


@lru_cache(maxsize=1)
def load_atlas(atlas: Path, roi: Path) -> Atlas:
    """Load an atlas and its region of interest; raises VsudaError if they do not fit together."""
    image = load_image(atlas)
    try:
        region = load_label(roi)
    except VsudaError as error:
        remedy = f"{error.remedy}; --roi takes the mask of vsuda atlas, --atlas the image"
        raise VsudaError(roi, error.problem, remedy) from error
    if not same_grid(image, region):
        raise VsudaError(roi, f"is on another grid than {atlas.name}", "make both with vsuda atlas")
    if image.array.min() == image.array.max():
        raise VsudaError(atlas, "is a constant image", "give the image of a typical head")
    if not region.array.any():
        raise VsudaError(roi, "marks no voxel", "mark the right ear's region with 1")
    array, affine = cropping.to_canonical(image.array, image.affine)
    corners_mm = cropping.region_corners(region.array, region.affine)
    digest = hashlib.sha256(image.array.tobytes() + image.affine.tobytes()).hexdigest()
    return Atlas(make_template(array, affine), corners_mm, digest)


def sides_of(side: str) -> tuple[str, ...]:
    """Return the ears that --side names; raises VsudaError for another word."""
    if side not in SIDES:
        raise VsudaError(f"--side {side}", "is unknown", "write both, left or right")
    return SIDES[side]


def crop_outputs(out: Path, case: CaseFile, sides: Sequence[str], labelled: bool) -> list[Path]:
    """Return the crops of one case, ear by ear, each image before its label."""
    tags = (case.tag, LABEL) if labelled else (case.tag,)
    return [output_path(out, f"{case.case}_{side}", tag) for side in sides for tag in tags]


def crop_case(
    case: CaseFile, label_path: Path | None, settings: CropSettings, out: Path
) -> JobResult:
    """Register one scan, cut out its ears and write crops and the record of the transform.

    Raises VsudaError if the registration failed, an earlier one's record does not fit, or the label
    map lies on another grid.
    """
    began = time.perf_counter()
    atlas = load_atlas(settings.atlas, settings.roi)
    scan = load_image(case.path)
    array, affine = cropping.to_canonical(scan.array, scan.affine)
    label = None
    if label_path is not None:
        volume = load_label_on(scan, label_path)
        label, _ = cropping.to_canonical(volume.array, volume.affine)
    origin = Origin(scan, settings.atlas, atlas.digest)
    if settings.transforms is None:
        found = _register(case.path, array, affine, atlas, settings.sides)
    else:
        found = read_record(settings.transforms, case.case, origin, settings.sides)
        _refuse_outside(case.path, found, array.shape, affine, atlas)
    points = {} if label is None else _labelled_points(array, affine, label, atlas, found)
    outside = padding_value(array)
    written: list[Path] = []
    cut: dict[str, int] = {}
    for side, registration in found.items():
        roi_mm = _roi_in_scan(atlas, registration)
        crop, crop_affine = _cut_ear(array, affine, roi_mm, side, settings, resample_image, outside)
        written.append(output_path(out, f"{case.case}_{side}", case.tag))
        save_image(written[-1], crop, crop_affine)
        if label is not None:
            crop, crop_affine = _cut_ear(label, affine, roi_mm, side, settings, resample_label)
            written.append(output_path(out, f"{case.case}_{side}", LABEL))
            save_label(written[-1], crop, crop_affine)
            lost = ears.cut_points(points[side], crop.shape, crop_affine)
            cut[side] = int(np.count_nonzero(lost))
    record = record_of(origin, found, cut)
    write_record(out, case, record)
    notes = tuple(
        f"{case.case}: {count} labelled voxels of side {side} lie outside its crop"
        for side, count in cut.items()
        if count
    )
    seconds = round(time.perf_counter() - began, 2)
    return JobResult(tuple(written), {**record, "seconds": seconds}, notes)


@dataclass(frozen=True)
class EarCrop:
    """An ear cut out of a scan (X, Y, Z), its affine, and how alike scan and atlas are there."""

    array: NDArray[np.float32]
    affine: Affine
    similarity: float


def cut_ears(scan: Volume, settings: CropSettings) -> dict[str, EarCrop]:
    """Return a scan's crops by side, as crop_case writes them.

    Raises VsudaError if the registration failed.
    """
    atlas = load_atlas(settings.atlas, settings.roi)
    array, affine = cropping.to_canonical(scan.array, scan.affine)
    outside = padding_value(array)
    crops = {}
    for side, one in _register(scan.path, array, affine, atlas, settings.sides).items():
        roi_mm = _roi_in_scan(atlas, one)
        crop, crop_affine = _cut_ear(array, affine, roi_mm, side, settings, resample_image, outside)
        crops[side] = EarCrop(crop, crop_affine, one.similarity)
    return crops


def _register(
    where: Path,
    array: NDArray[np.float32],
    affine: Affine,
    atlas: Atlas,
    sides: Sequence[str],
) -> dict[str, Registration]:
    """Register a scan (X, Y, Z) for each side; its ears must be in view."""
    scan = make_template(array, affine)
    found: dict[str, Registration] = {}
    if ears.RIGHT in sides:
        found[ears.RIGHT] = register_right(where, scan, atlas.template)
    if ears.LEFT in sides:
        found[ears.LEFT] = register_left(where, scan, atlas.template, found.get(ears.RIGHT))
    _refuse_outside(where, found, array.shape, affine, atlas)
    return found


def _labelled_points(
    array: NDArray[np.float32],
    affine: Affine,
    label: NDArray[np.uint8],
    atlas: Atlas,
    found: dict[str, Registration],
) -> dict[str, NDArray[np.float64]]:
    """Return each ear's labelled points; an ear not asked for is taken to lie mirrored."""
    centres = {side: _roi_in_scan(atlas, one).mean(axis=0) for side, one in found.items()}
    for side, other in ((ears.RIGHT, ears.LEFT), (ears.LEFT, ears.RIGHT)):
        if side not in centres:
            _, reflection = mirror_template(make_template(array, affine))
            centres[side] = transform(reflection, centres[other][None])[0]
    return ears.split_sides(label, affine, centres[ears.RIGHT], centres[ears.LEFT])


def _roi_in_scan(atlas: Atlas, registration: Registration) -> NDArray[np.float64]:
    return transform(inverse(registration.to_atlas), atlas.roi_corners_mm)


def _refuse_outside(
    where: Path,
    found: dict[str, Registration],
    shape: tuple[int, ...],
    affine: Affine,
    atlas: Atlas,
) -> None:
    for side, registration in found.items():
        index = transform(inverse(affine), _roi_in_scan(atlas, registration))
        low, high = index.min(axis=0), index.max(axis=0)
        inside = np.clip(np.minimum(high, np.array(shape) - 0.5) - np.maximum(low, -0.5), 0, None)
        share = float(np.prod(inside / np.minimum(high - low, shape)))
        if share < LEAST_IN_VIEW:
            raise VsudaError(
                where,
                f"only {100 * share:.0f} % of the region of ear {side} lies in the field of view",
                "look at the scan: it does not show that ear (--side takes the other alone), or "
                "the registration went astray",
            )


def _cut_ear(
    array: NDArray[Any],
    affine: Affine,
    roi_mm: NDArray[np.float64],
    side: str,
    settings: CropSettings,
    resample: Callable[..., tuple[NDArray[Any], Affine]],
    outside: float = 0.0,
) -> tuple[NDArray[Any], Affine]:
    """Cut one ear out of an image or a label map, at wanted size and spacing.

    `roi_mm` are the corners of its region; beyond the array all voxels are `outside`. A left ear is
    mirrored, so that it looks right.
    """
    start, size = cropping.bounding_box(roi_mm, affine)
    old_spacing = spacing_of(affine)
    if settings.size is not None:
        wanted = np.asarray(settings.size)
        # One voxel more than wanted, so that resampling never ends short of the wanted size.
        if settings.spacing_mm is not None:
            wanted = np.ceil(wanted * np.asarray(settings.spacing_mm) / old_spacing).astype(int) + 1
        start = cropping.resize_box(start, size, wanted.tolist())
        size = (int(wanted[0]), int(wanted[1]), int(wanted[2]))
    crop, crop_affine = cropping.cut_box(array, affine, start, size, outside)
    if settings.spacing_mm is not None:
        crop, crop_affine = resample(crop, crop_affine, settings.spacing_mm)
        if settings.size is not None:
            trim = cropping.resize_box((0, 0, 0), crop.shape, settings.size)
            crop, crop_affine = cropping.cut_box(crop, crop_affine, trim, settings.size)
    return cropping.mirror(crop, crop_affine) if side == ears.LEFT else (crop, crop_affine)
