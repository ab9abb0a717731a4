"""Slices through each structure of a case: grey pictures with outlines in millimetres."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from PIL import Image

from vsuda_cli.images.cropping import to_canonical
from vsuda_cli.images.ears import sample_evenly
from vsuda_cli.images.geometry import spacing_of, voxel_mm3
from vsuda_cli.images.no_signal import no_signal_value
from vsuda_cli.images.percentiles import tail_percentiles
from vsuda_cli.report.model import Drawing, Slice, View
from vsuda_cli.report.viewer import viewer_volumes

SLICES = 5
MARGIN_MM = 12.0
SMALLEST_SIDE_MM = 40.0
# A prediction may litter the whole head; the pictures stay near the reference then.
LARGEST_SIDE_MM = 140.0
# Five slices, three views and two structures of this size keep thirty cases below 15 MB.
LARGEST_PICTURE = 20_000
# Fewer greys than the eye can tell apart nearly halve a noisy picture's size.
GREYS = 64
PERCENTILES = (0.5, 99.5)
# A view's name, and its slice, across and up axes among right, anterior, superior.
ORIENTATIONS = (("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2))

# Each of the 256 greys to the nearest of the GREYS kept ones.
_STEPS: NDArray[np.uint8] = np.rint(
    np.rint(np.arange(256) * (GREYS - 1) / 255) * 255 / (GREYS - 1)
).astype(np.uint8)

Labels = NDArray[np.uint8]
Grey = NDArray[np.float32]
Box = list[tuple[int, int]]


@dataclass(frozen=True)
class _Shown:
    """A scan (X, Y, Z), of which few slices are drawn, and what is black and white in them."""

    scan: Grey
    black: float
    white: float

    @staticmethod
    def of(scan: Grey) -> "_Shown":
        values = scan.ravel(order="K")
        # Padding far below all tissue would leave it one grey.
        if (padding := no_signal_value(scan)) < 0:
            values = values[values != padding]
        black, white = tail_percentiles(values, PERCENTILES)
        return _Shown(scan, black, white)

    def greys(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return intensities, whatever their shape, as the greys that are kept."""
        scaled = np.clip((values - self.black) / max(self.white - self.black, 1e-12), 0, 1)
        greys: NDArray[np.uint8] = _STEPS[np.rint(scaled * 255).astype(np.uint8)]
        return greys


def draw_case(
    reference: Labels | None,
    prediction: Labels,
    scan: Grey | None,
    affine: NDArray[np.float64],
    structures: Sequence[str],
    *,
    viewer: bool = False,
) -> Drawing:
    """Return the pictures of one case.

    `reference`, `prediction` and `scan` (X, Y, Z) share one grid with `affine` (voxel to RAS mm);
    labels 1, 2, ... are `structures`. A structure that is in neither label map has no views.
    `viewer` adds the volumes that the viewer loads.
    Shown as radiologists do: the patient's right is left in axial and coronal slices, anterior is
    left in sagittal ones.
    """
    voxel_ml = voxel_mm3(affine) / 1000
    guess, canonical_affine = to_canonical(prediction, affine)
    truth = None if reference is None else to_canonical(reference, affine)[0]
    spacing_mm = spacing_of(canonical_affine)
    shown = None if scan is None else _Shown.of(to_canonical(scan, affine)[0])
    views: list[View] = []
    volumes = {}
    for value, structure in enumerate(structures, start=1):
        found = guess == value
        mask = np.zeros_like(found) if truth is None else truth == value
        volumes[structure] = float((found if truth is None else mask).sum()) * voxel_ml
        either = mask | found
        if not either.any():
            continue
        box = _box(mask, either, spacing_mm)
        for name, axis, across, up in ORIENTATIONS:
            numbers = _slice_numbers(mask, either, axis, box)
            slices = tuple(
                _draw(mask, found, shown, spacing_mm, box, (axis, across, up), number)
                for number in numbers
            )
            sizes = [
                tuple(int(np.take(volume, number, axis=axis).sum()) for volume in (mask, either))
                for number in numbers
            ]
            views.append(View(structure, name, slices, sizes.index(max(sizes))))
    loaded = None
    if viewer:
        greys = None if shown is None else shown.greys(shown.scan)
        loaded = viewer_volumes(truth, guess, greys, canonical_affine)
    return Drawing(tuple(views), volumes, loaded)


def _box(
    mask: NDArray[np.bool_], either: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> Box:
    """Return first and last + 1 index along each axis of what the pictures show."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        present = np.flatnonzero(either.any(axis=others))
        core = np.flatnonzero(mask.any(axis=others)) if mask.any() else present
        centre = (core[0] + core[-1] + 1) / 2
        if (core[-1] + 1 - core[0]) * spacing_mm[axis] + 2 * MARGIN_MM > LARGEST_SIDE_MM:
            # Too far apart for one picture: stay where there is something to be seen.
            centre = core[len(core) // 2] + 0.5
        reach = max(present[-1] + 1 - centre, centre - present[0]) * spacing_mm[axis] + MARGIN_MM
        half = min(max(reach, SMALLEST_SIDE_MM / 2), LARGEST_SIDE_MM / 2) / spacing_mm[axis]
        low, high = int(np.floor(centre - half)), int(np.ceil(centre + half))
        box.append((max(0, low), min(int(mask.shape[axis]), high)))
    return box


def _slice_numbers(
    mask: NDArray[np.bool_], either: NDArray[np.bool_], axis: int, box: Box
) -> list[int]:
    """Return up to SLICES slice numbers, evenly spread over those that hold the structure.

    The one with most of the reference (`mask`) takes the place of its nearest.
    """
    others = tuple(other for other in range(3) if other != axis)
    present = np.flatnonzero(either.any(axis=others))
    present = present[(present >= box[axis][0]) & (present < box[axis][1])]
    numbers = [int(present[at]) for at in sample_evenly(len(present), SLICES)]
    sizes = mask.sum(axis=others)
    if sizes.any():
        best = int(np.argmax(sizes))
        nearest = min(range(len(numbers)), key=lambda at: abs(numbers[at] - best))
        numbers[nearest] = best
    return numbers


def _draw(
    mask: NDArray[np.bool_],
    found: NDArray[np.bool_],
    shown: _Shown | None,
    spacing_mm: NDArray[np.float64],
    box: Box,
    axes: tuple[int, int, int],
    number: int,
) -> Slice:
    axis, across, up = axes
    mm = (float(spacing_mm[across]), float(spacing_mm[up]))
    truth, guess = (_upright(volume, box, axis, number) for volume in (mask, found))
    png = ""
    if shown is not None:
        png = _png(shown.greys(_upright(shown.scan, box, axis, number)))
    return Slice(
        width_mm=round(truth.shape[1] * mm[0], 2),
        height_mm=round(truth.shape[0] * mm[1], 2),
        place=f"slice {number + 1} of {mask.shape[axis]}",
        png=png,
        reference=_outline(truth, mm),
        prediction=_outline(guess, mm),
    )


def _upright(volume: NDArray[np.generic], box: Box, axis: int, number: int) -> NDArray[np.generic]:
    """Cut one slice out of a canonical volume, as rows from the top and columns from the left.

    The remaining axes run right or anterior, then anterior or superior: all three views are
    turned the same way, the first axis against the picture's columns, the second against its rows.
    """
    cut: list[slice | int] = [slice(low, high) for low, high in box]
    cut[axis] = number
    return volume[tuple(cut)].T[::-1, ::-1]


def _outline(mask: NDArray[np.generic], mm: tuple[float, float]) -> str:
    """Return a mask's outline as SVG path data, half way between voxel centres."""
    if not mask.any():
        return ""
    # A frame of background closes outlines at the picture's border.
    padded = np.pad(mask.astype(np.float64), 1)
    parts = []
    for line in contour_generator(z=padded).lines(0.5):
        # Voxel centres of the padded mask lie at index - 1 + one half.
        points = (np.asarray(line)[:-1] - 0.5) * mm
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(parts)


def _png(pixels: NDArray[np.generic]) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    shrink = (LARGEST_PICTURE / (image.width * image.height)) ** 0.5
    if shrink < 1:
        size = max(1, int(image.width * shrink)), max(1, int(image.height * shrink))
        image = image.resize(size, Image.Resampling.BOX)
        image = image.point(_STEPS.tolist())
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")
