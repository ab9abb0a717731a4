"""4x4 matrices between voxel indices and world millimetres, and what they do to points."""

import itertools

import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]
Points = NDArray[np.float64]


def inverse(matrix: Affine) -> Affine:
    """Return the inverse of a 4x4 matrix."""
    return np.linalg.inv(matrix).astype(np.float64)


def transform(matrix: Affine, points: Points) -> Points:
    """Apply a 4x4 matrix to points (n, 3)."""
    moved: Points = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def spacing_of(affine: Affine) -> Points:
    """Return the distances (3,) of voxels along the array axes, in mm."""
    spacing_mm: Points = np.linalg.norm(affine[:3, :3], axis=0)
    return spacing_mm


def voxel_mm3(affine: Affine) -> float:
    """Return the volume of a voxel."""
    return abs(float(np.linalg.det(affine[:3, :3])))


def axis_through_slices(affine: Affine) -> int:
    """Return the array axis that slices lie across: the first of the largest spacing."""
    return int(np.argmax(spacing_of(affine)))


def in_plane_mm(affine: Affine) -> Points:
    """Return the two sides (2,) of a slice's pixels."""
    return np.delete(spacing_of(affine), axis_through_slices(affine))


def pixel_mm(affine: Affine) -> float:
    """Return the larger side of a slice's pixels, to a tenth of a micrometre.

    A header's single precision makes 0.50000001 of a half millimetre that is turned.
    """
    return round(float(in_plane_mm(affine).max()), 4)


def translation(offset: Points) -> Affine:
    """Return the 4x4 matrix that moves points by `offset` (3,)."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def flip_index(size: int) -> Affine:
    """Return the 4x4 matrix that maps index i of the first axis to size - 1 - i."""
    flip = np.eye(4)
    flip[0, 0] = -1
    flip[0, 3] = size - 1
    return flip


def reflection(affine: Affine, size: int) -> Affine:
    """Return the reflection (4x4) of the world in the middle of a grid's first axis of `size`."""
    return affine @ flip_index(size) @ inverse(affine)


def corners(low: Points, high: Points) -> Points:
    """Return the eight corners (8, 3) of a box."""
    return np.array(list(itertools.product(*zip(low, high, strict=True))), dtype=np.float64)
