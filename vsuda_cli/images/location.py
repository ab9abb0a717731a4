"""Where structures may lie: crops of one region show the same place of every head."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from vsuda_cli.images.cropping import cut_box, resize_box

Scalar = TypeVar("Scalar", bound=np.generic)


def cut_middle(array: NDArray[Scalar], size: Sequence[int]) -> NDArray[Scalar]:
    """Return a box of `size` voxels with the same middle, 0 beyond the array (X, Y, Z)."""
    start = resize_box((0, 0, 0), array.shape, size)
    return cut_box(array, np.eye(4), start, size)[0]


def structure_region(
    labels: Sequence[NDArray[np.uint8]], spacing_mm: Sequence[float], margin_mm: float
) -> NDArray[np.bool_]:
    """Return where any label map has a structure, or has one within `margin_mm`.

    labels: maps (X, Y, Z) of crops of one region, on one spacing; sizes may differ, their middles
    lie on each other. The result is as large as the largest, and the margin beyond.
    """
    margin = np.ceil(margin_mm / np.asarray(spacing_mm)).astype(int)
    size = (np.max([label.shape for label in labels], axis=0) + 2 * margin).tolist()
    found = np.zeros(size, dtype=np.bool_)
    for label in labels:
        found |= cut_middle(label, size) > 0
    if not found.any():
        return found
    near: NDArray[np.bool_] = distance_transform_edt(~found, sampling=spacing_mm) <= margin_mm
    return near


def outside_region(region: NDArray[np.bool_], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return the voxels of a crop (X, Y, Z) that lie outside the region."""
    return ~cut_middle(region, shape)
