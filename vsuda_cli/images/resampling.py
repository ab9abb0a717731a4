"""Volumes on other grids: a new spacing, or any grid that an affine describes."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import Affine, spacing_of

# Interpolation weights (new, old) along one axis.
Weights = NDArray[np.float32]

# Ratios of spacings closer to 1 than this are rounding in a header, not another spacing.
SAME_SPACING = 1e-5
# Decimals kept of index coordinates: float32 headers leave noise that would push a border voxel
# out of the image, or a nearest neighbour to the wrong side.
INDEX_DECIMALS = 6
# Voxels of slack at the border of an image's extent.
BORDER_SLACK = 1e-4
# Voxels from its centre where the cubic kernel ends.
KEYS_SUPPORT = 2.0


def resample_image(
    array: NDArray[np.float32], affine: Affine, spacing_mm: Sequence[float]
) -> tuple[NDArray[np.float32], Affine]:
    """Bring a volume (X, Y, Z) to `spacing_mm` along its own array axes.

    Cubic convolution (Keys 1981, a = -1/2), its kernel widened by the ratio of the spacings where
    the new grid is coarser, so that nothing aliases. Values stay within the input's range: a
    cubic overshoots at edges, and an intensity below the background's is an artefact.

    Returns the array and its affine; axes' directions and the volume's centre stay. Raises
    VsudaError if a spacing is not positive.
    """
    shape, new_affine = grid_at_spacing(array.shape, affine, spacing_mm)
    weights = _axes(array.shape, affine, shape, spacing_mm)
    resampled = _resample_axes(array, [one and _sparse(*one) for one in weights])
    if array.size and any(one is not None for one in weights):
        np.clip(resampled, array.min(), array.max(), out=resampled)
    return resampled.astype(np.float32, copy=False), new_affine


def resample_label(
    array: NDArray[np.uint8], affine: Affine, spacing_mm: Sequence[float]
) -> tuple[NDArray[np.uint8], Affine]:
    """Bring a label map (X, Y, Z) to `spacing_mm`, on the very grid resample_image gives.

    Each label's mask is resampled as resample_image does, and a voxel takes the label with the
    largest share. On inner ears this keeps a cochlea's volume to 1 % (linear shares lose 4 %) and
    gives smoother outlines than the nearest neighbour, the more so the coarser the grid.
    """
    shape, new_affine = grid_at_spacing(array.shape, affine, spacing_mm)
    best = np.zeros(shape, dtype=np.uint8)
    weights = [one and _weights(*one) for one in _axes(array.shape, affine, shape, spacing_mm)]
    # All is background but what a labelled voxel reaches, which is little.
    reached = [
        _reached(one, np.flatnonzero((array > 0).any(axis=others)))
        for one, others in zip(weights, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]
    rows, columns = tuple(new for new, _ in reached), tuple(old for _, old in reached)
    inner = [
        None if one is None else sparse.csr_array(one[new, old])
        for one, new, old in zip(weights, rows, columns, strict=True)
    ]
    found, part = best[rows], array[columns]
    best_share = np.full(found.shape, -1.0, dtype=np.float32)
    for value in np.unique(part):
        share = _resample_axes((part == value).astype(np.float32), inner)
        # A tie stays with the smaller label, background first.
        better = share > best_share + 1e-6
        found[better] = value
        best_share[better] = share[better]
    return best, new_affine


def resample_to_grid(
    array: NDArray[np.float32],
    affine: Affine,
    shape: Sequence[int],
    grid_affine: Affine,
    order: int,
) -> NDArray[np.float32]:
    """Sample a volume at the voxel centres of any other grid.

    `order` is the spline's: 0 nearest, 1 linear, 3 cubic. Up to half a voxel beyond the outermost
    voxel centres, where the volume still reaches, its border values go on; 0 beyond that.
    """
    to_index = np.linalg.solve(affine, grid_affine)
    matrix = np.round(to_index[:3, :3], INDEX_DECIMALS + 3)
    offset = np.round(to_index[:3, 3], INDEX_DECIMALS)
    sampled: NDArray[np.float32] = ndimage.affine_transform(
        array.astype(np.float32, copy=False),
        matrix,
        offset,
        output_shape=tuple(shape),
        order=order,
        mode="nearest",
        output=np.float32,
    )
    sampled[~_inside(matrix, offset, array.shape, shape)] = 0
    return sampled


def grid_at_spacing(
    shape: Sequence[int], affine: Affine, spacing_mm: Sequence[float]
) -> tuple[tuple[int, int, int], Affine]:
    """Return shape and affine of the grid with `spacing_mm` and the same centre and directions.

    Its extent is the old one to the nearest whole voxel.
    """
    wanted = np.asarray(spacing_mm, dtype=np.float64)
    if wanted.shape != (3,) or not np.isfinite(wanted).all() or wanted.min() <= 0:
        raise VsudaError(
            f"spacing {tuple(spacing_mm)}", "is not three positive numbers", "give mm along x, y, z"
        )
    old = spacing_of(affine)
    size = np.asarray(shape[:3])
    new_size = np.maximum(1, np.rint(size * old / wanted)).astype(int)
    new_affine = np.eye(4)
    new_affine[:3, :3] = affine[:3, :3] / old * wanted
    centre = affine[:3, :3] @ ((size - 1) / 2) + affine[:3, 3]
    new_affine[:3, 3] = centre - new_affine[:3, :3] @ ((new_size - 1) / 2)
    return (int(new_size[0]), int(new_size[1]), int(new_size[2])), new_affine


def _inside(
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    source_shape: Sequence[int],
    shape: Sequence[int],
) -> NDArray[np.bool_]:
    """Tell which voxels of the new grid lie within the extent of the source."""
    inside = np.ones(tuple(shape), dtype=np.bool_)
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for axis in range(3):
        row = matrix[axis]
        index = row[0] * x + row[1] * y + row[2] * z + offset[axis]
        inside &= (index >= -0.5 - BORDER_SLACK) & (
            index <= source_shape[axis] - 0.5 + BORDER_SLACK
        )
    return inside


def _axes(
    old_shape: Sequence[int], affine: Affine, shape: Sequence[int], spacing_mm: Sequence[float]
) -> list[tuple[int, int, float] | None]:
    """Return what `_weights` needs for each axis, None where the grids are the same.

    Old and new grid share their directions and their centre.
    """
    old_mm = spacing_of(affine)
    found: list[tuple[int, int, float] | None] = []
    for axis in range(3):
        ratio = float(spacing_mm[axis] / old_mm[axis])
        same = abs(ratio - 1) < SAME_SPACING and shape[axis] == old_shape[axis]
        found.append(None if same else (old_shape[axis], shape[axis], ratio))
    return found


def _reached(weights: Weights | None, labelled: NDArray[np.intp]) -> tuple[slice, slice]:
    """Return which rows the `labelled` columns reach, and all columns that these rows take from."""
    if len(labelled) == 0:
        return slice(0, 0), slice(0, 0)
    columns = slice(int(labelled[0]), int(labelled[-1]) + 1)
    if weights is None:
        return columns, columns
    rows = np.flatnonzero((weights[:, columns] != 0).any(axis=1))
    reached = slice(int(rows[0]), int(rows[-1]) + 1)
    taken = np.flatnonzero((weights[reached] != 0).any(axis=0))
    return reached, slice(int(taken[0]), int(taken[-1]) + 1)


def _resample_axes(
    array: NDArray[np.float32], weights: Sequence[sparse.csr_array | None]
) -> NDArray[np.float32]:
    """Resample axis after axis.

    Sparse products: BLAS rounds differently with each number of threads.
    """
    result = array.astype(np.float32, copy=False)
    for axis, matrix in enumerate(weights):
        if matrix is None:
            continue
        if axis == array.ndim - 1:
            # NumPy turns two axes round several times as fast as three.
            rows = np.ascontiguousarray(result).reshape(-1, result.shape[axis])
            product = matrix @ np.ascontiguousarray(rows.T)
            result = np.ascontiguousarray(product.T).reshape(*result.shape[:axis], -1)
        else:
            lines = np.moveaxis(result, axis, 0)
            product = matrix @ lines.reshape(lines.shape[0], -1)
            result = np.moveaxis(product.reshape(-1, *lines.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


@lru_cache(maxsize=64)
def _weights(old_size: int, new_size: int, ratio: float) -> Weights:
    """Return the (new, old) matrix of interpolation weights along one axis; rows sum to 1."""
    centres = (np.arange(new_size) - (new_size - 1) / 2) * ratio + (old_size - 1) / 2
    # Voxels outside repeat the border voxel, also for centres beyond it.
    centres = np.clip(centres, 0, old_size - 1)
    width = max(1.0, ratio)
    reach = int(np.ceil(KEYS_SUPPORT * width)) + 1
    weights = np.zeros((new_size, old_size))
    first = np.floor(centres).astype(int)
    rows = np.arange(new_size)
    for step in range(-reach, reach + 2):
        column = first + step
        value = _keys((column - centres) / width)
        np.add.at(weights, (rows, np.clip(column, 0, old_size - 1)), value)
    normalised: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(
        np.float32
    )
    # Kept for the next volume of these sizes.
    normalised.setflags(write=False)
    return normalised


@lru_cache(maxsize=64)
def _sparse(old_size: int, new_size: int, ratio: float) -> sparse.csr_array:
    return sparse.csr_array(_weights(old_size, new_size, ratio))


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic convolution kernel with a = -1/2 (Keys 1981, equation 15)."""
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))
