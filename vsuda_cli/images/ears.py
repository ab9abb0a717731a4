"""Which ear a labelled structure belongs to, and which case makes the best atlas."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vsuda_cli.images.cropping import world_points
from vsuda_cli.images.geometry import Affine, Points, inverse, transform, translation

RIGHT = "R"
LEFT = "L"
# In voxels: what rounding may move a point beyond a crop's border.
SLACK = 1e-3


def components(label: NDArray[np.uint8], affine: Affine) -> list[Points]:
    """Return the world points (n, 3), in mm, of each connected labelled structure (any class)."""
    numbered, _ = ndimage.label(label > 0, structure=np.ones((3, 3, 3)))
    found = []
    for number, part in enumerate(ndimage.find_objects(numbered), 1):
        start = translation(np.array([one.start for one in part], dtype=np.float64))
        found.append(world_points(numbered[part] == number, affine @ start))
    return found


def split_sides(
    label: NDArray[np.uint8], affine: Affine, right_mm: Points, left_mm: Points
) -> dict[str, Points]:
    """Return the labelled points (n, 3) of each ear: of the one each structure's centre is nearer.

    A tumour that reaches over the midline stays whole with its ear.
    """
    sides: dict[str, list[Points]] = {RIGHT: [], LEFT: []}
    for points in components(label, affine):
        centre = points.mean(axis=0)
        nearer_right = np.linalg.norm(centre - right_mm) <= np.linalg.norm(centre - left_mm)
        sides[RIGHT if nearer_right else LEFT].append(points)
    return {
        side: np.concatenate(found) if found else np.empty((0, 3)) for side, found in sides.items()
    }


def sample_evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices below `count`, evenly spread, both ends included."""
    if count <= most:
        return list(range(count))
    return sorted({round(float(i)) for i in np.linspace(0, count - 1, most)})


def most_typical(similarities: NDArray[np.float64]) -> int:
    """Return the row of a symmetric matrix (n, n) with the highest mean similarity to the others.

    The diagonal is left out; the first of equals is taken.
    """
    others = similarities.copy()
    np.fill_diagonal(others, 0)
    return int(np.argmax(others.sum(axis=1)))


def cut_points(points: Points, shape: Sequence[int], affine: Affine) -> NDArray[np.bool_]:
    """Tell which world points (n, 3) lie outside a crop of `shape`."""
    index = transform(inverse(affine), points)
    beyond = (index < -0.5 - SLACK) | (index > np.asarray(shape) - 0.5 + SLACK)
    outside: NDArray[np.bool_] = np.any(beyond, axis=1)
    return outside
