"""How one contrast shows what another shows: an intensity curve between two sets of crops."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.location import cut_middle

Array = NDArray[np.float32]

# Heights of a curve at intensities 0, 0.1, ..., 1: bone and fluid of a T1 scan lie one step apart.
FITTED_POINTS = 11
# Intensities that the other contrast is told apart by.
LEVELS = 21


def fit_curve(first: Sequence[Array], second: Sequence[Array]) -> NDArray[np.float64]:
    """Return heights (11,) in [0, 1] of the curve that turns `first` into what `second` shows.

    first, second: crops (X, Y, Z) in [0, 1] of the same region of different heads, on one spacing;
    sizes may differ, their middles lie on each other. No two heads match, so at the places of one
    tissue the other set shows a blend of all tissues around. What it shows there *more often than
    anywhere* is that tissue: a height is the mean of those intensities, weighted by how much more
    often, max(0, P(second | first) - P(second)) over all pairs of crops. A plain mean would pull
    all tissues to one grey: fluid of a real T2 set comes out at 0.28, here at 0.53, where it is
    near 1. The curve may fall and rise: two contrasts order tissues differently.
    """
    size = np.min([array.shape for array in (*first, *second)], axis=0).tolist()
    joint = _shares(first, size, FITTED_POINTS).T @ _shares(second, size, LEVELS)
    often = joint / joint.sum(axis=1, keepdims=True).clip(min=1e-12)
    more_often = (often - joint.sum(axis=0) / joint.sum()).clip(min=0)
    # An intensity that no crop has, or that tells nothing, shows what there is on average.
    tells_nothing = more_often.sum(axis=1) < 1e-6
    more_often[tells_nothing] = joint.sum(axis=0)
    levels = np.linspace(0, 1, LEVELS)
    heights: NDArray[np.float64] = more_often @ levels / more_often.sum(axis=1)
    return heights


def _shares(crops: Sequence[Array], size: Sequence[int], points: int) -> NDArray[np.float64]:
    """Return how often each voxel of a box has each of `points` intensities, (voxels, points).

    An intensity between two points counts for both, as much as it is near.
    """
    shares = np.zeros((int(np.prod(size)), points))
    for array in crops:
        place = cut_middle(array, size).ravel().clip(0, 1) * (points - 1)
        for point in range(points):
            shares[:, point] += np.clip(1 - np.abs(place - point), 0, None)
    return shares / len(crops)
