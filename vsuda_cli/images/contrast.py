"""How one contrast shows what another shows: an intensity curve between two sets of crops."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from vsuda_cli.images.location import cut_middle

Array = NDArray[np.float32]

# Heights of a curve at intensities 0, 0.1, ..., 1: bone and fluid of a T1 scan lie one step apart.
CURVE_POINTS = 11
# Weight of the squared bends against the mean squared error; keeps rare intensities' heights near
# their neighbours'.
SMOOTHNESS = 1e-4


def fit_curve(first: Sequence[Array], second: Sequence[Array]) -> NDArray[np.float64]:
    """Return heights (11,) in [0, 1] of the curve that turns `first` into what `second` shows.

    first, second: crops (X, Y, Z) in [0, 1] of the same region of different heads, on one spacing;
    sizes may differ, their middles lie on each other. No two heads match, but the mean over many
    blurs both sets alike. As a curve of straight pieces is linear in its heights, so is its mean
    image, and heights are found by least squares. The curve may fall and rise: two contrasts order
    tissues differently.
    """
    size = np.min([array.shape for array in (*first, *second)], axis=0).tolist()
    hats = np.zeros((int(np.prod(size)), CURVE_POINTS))
    for array in first:
        place = cut_middle(array, size).ravel().clip(0, 1) * (CURVE_POINTS - 1)
        for point in range(CURVE_POINTS):
            hats[:, point] += np.clip(1 - np.abs(place - point), 0, None)
    hats /= len(first)
    wanted = np.mean([cut_middle(array, size) for array in second], axis=0).ravel()
    bends = np.diff(np.eye(CURVE_POINTS), 2, axis=0) * np.sqrt(SMOOTHNESS)
    # The normal equations' square root: as many rows as heights, however many voxels there are.
    _, triangle = np.linalg.qr(np.column_stack([hats, wanted]) / np.sqrt(len(wanted)))
    rows = np.vstack([triangle[:, :-1], bends])
    goals = np.concatenate([triangle[:, -1], np.zeros(len(bends))])
    heights: NDArray[np.float64] = lsq_linear(rows, goals, (0, 1)).x
    return heights
