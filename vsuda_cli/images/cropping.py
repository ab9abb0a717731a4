"""Cutting boxes out of scans and putting results back, by affines alone."""

from collections.abc import Sequence
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.geometry import Affine, corners, flip_index, inverse, transform, translation
from vsuda_cli.images.metrics import joint_box
from vsuda_cli.images.resampling import resample_to_grid

Scalar = TypeVar("Scalar", bound=np.generic)

# Voxels around a crop's outline within which its nearest neighbours are sought.
RIM = 2


def to_canonical(array: NDArray[Scalar], affine: Affine) -> tuple[NDArray[Scalar], Affine]:
    """Permute and flip the axes (X, Y, Z) so that they run closest to right, anterior, superior.

    Voxels keep their values and their places in the world: nothing is interpolated.
    """
    orientation = nib.orientations.io_orientation(affine)
    turned = nib.orientations.apply_orientation(array, orientation)
    to_old_index = nib.orientations.inv_ornt_aff(orientation, array.shape[:3])
    return np.ascontiguousarray(turned), affine @ to_old_index


def mirror(array: NDArray[Scalar], affine: Affine) -> tuple[NDArray[Scalar], Affine]:
    """Flip the first array axis; the affine carries the flip, so that world coordinates stay true.

    In canonical order that shows a left ear as a right one. Twice is the identity.
    """
    return np.ascontiguousarray(array[::-1]), affine @ flip_index(array.shape[0])


def bounding_box(
    points: NDArray[np.float64], affine: Affine
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return start and size, in voxels, of the smallest box that holds world points (n, 3)."""
    indices = transform(inverse(affine), points)
    low = np.floor(indices.min(axis=0) + 0.5 + 1e-6).astype(int)
    high = np.ceil(indices.max(axis=0) - 0.5 - 1e-6).astype(int)
    size = np.maximum(1, high - low + 1)
    return _triple(low), _triple(size)


def region_corners(region: NDArray[Any], affine: Affine) -> NDArray[np.float64]:
    """Return the corners (8, 3) in mm of the box of voxels around a mask, which is not empty."""
    index = np.argwhere(region)
    return transform(affine, corners(index.min(axis=0) - 0.5, index.max(axis=0) + 0.5))


def resize_box(
    start: Sequence[int], size: Sequence[int], wanted: Sequence[int]
) -> tuple[int, int, int]:
    """Return the start of a box of `wanted` voxels with the same centre."""
    return _triple(np.asarray(start) + (np.asarray(size) - np.asarray(wanted)) // 2)


def cut_box(
    array: NDArray[Scalar],
    affine: Affine,
    start: Sequence[int],
    size: Sequence[int],
    outside: float = 0,
) -> tuple[NDArray[Scalar], Affine]:
    """Cut a box of `size` voxels that begins at index `start`, which may be negative.

    What lies outside the field of view is `outside`: background in a label map, and in an image the
    value without a signal, which is left out of intensity statistics.
    """
    cut = np.full(tuple(size), outside, dtype=array.dtype)
    inside_array, inside_cut = [], []
    for first, length, available in zip(start, size, array.shape, strict=True):
        low, high = max(first, 0), max(min(first + length, available), 0)
        inside_array.append(slice(low, high))
        inside_cut.append(slice(low - first, high - first))
    if all(part.stop > part.start for part in inside_array):
        cut[tuple(inside_cut)] = array[tuple(inside_array)]
    return cut, affine @ translation(np.asarray(start, dtype=np.float64))


def place_back(
    label: NDArray[np.uint8],
    label_affine: Affine,
    shape: Sequence[int],
    affine: Affine,
    into: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Put a crop's labels (X, Y, Z) back on a scan's grid of `shape`, nearest neighbour.

    Where the crop lies, how its axes run and whether it is mirrored is all in `label_affine`. On
    the scan's own voxels nothing is interpolated. Labels merge into a copy of `into`; what is
    labelled there already stays.
    """
    result = np.zeros(tuple(shape), dtype=np.uint8) if into is None else into.copy()
    # Structures are a small part, of a whole scan's map above all.
    box = joint_box(label)
    label, first = label[box], np.array([side.start for side in box], dtype=np.float64)
    label_affine = label_affine @ translation(first)
    start, size = covered_box(label.shape, label_affine, shape, affine)
    if 0 in size or 0 in label.shape:
        return result
    sub_affine = affine @ translation(np.asarray(start, dtype=np.float64))
    placed = resample_to_grid(
        label.astype(np.float32), label_affine, size, sub_affine, order=0
    ).astype(np.uint8)
    part = result[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
    part[...] = np.where(part == 0, placed, part)
    return result


def covered_box(
    crop_shape: Sequence[int], crop_affine: Affine, shape: Sequence[int], affine: Affine
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return start and size of the part of a scan's grid that a crop reaches; crops are small.

    A crop beside the scan reaches nothing: some size is 0.
    """
    outline = corners(np.full(3, -0.5), np.asarray(crop_shape) - 0.5)
    indices = transform(inverse(affine) @ crop_affine, outline)
    most = np.asarray(shape[:3])
    low = np.clip(np.floor(indices.min(axis=0)).astype(int) - RIM, 0, most)
    high = np.clip(np.ceil(indices.max(axis=0)).astype(int) + RIM + 1, low, most)
    return _triple(low), _triple(high - low)


def world_points(mask: NDArray[Any], affine: Affine) -> NDArray[np.float64]:
    """Return the world coordinates (n, 3) in mm of a mask's non-zero voxels."""
    return transform(affine, np.argwhere(mask).astype(np.float64))


def _triple(values: NDArray[Any]) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])
