"""Which of a model's own predictions are sure enough to learn from."""

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.components import find_components

# The label of voxels that no loss counts.
IGNORED = 255


def sure_labels(
    probabilities: NDArray[np.float32], affine: NDArray[np.float64], least: float
) -> NDArray[np.uint8]:
    """Return the most probable class (X, Y, Z) where it is sure, and 255 everywhere else.

    probabilities: (X, Y, Z, class) of one ear. Left out are voxels whose best class is less
    probable than `least`, and all but the largest component of each structure: an ear has one of
    each, and nobody knows what the rest is.
    """
    labels: NDArray[np.uint8] = probabilities.argmax(axis=-1).astype(np.uint8)
    sure = probabilities.max(axis=-1) >= least
    for value in range(1, probabilities.shape[-1]):
        numbered, found = find_components(labels == value, affine, 26)
        sure &= (numbered == 0) | (numbered == (found[0].number if found else 0))
    return np.where(sure, labels, np.uint8(IGNORED))
