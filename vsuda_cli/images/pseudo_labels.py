"""Which of a model's own predictions are sure enough to learn from."""

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.components import find_components

# The label of voxels that no loss counts.
IGNORED = 255


def sure_labels(probabilities: NDArray[np.float32], least: float) -> NDArray[np.uint8]:
    """Return the most probable class (X, Y, Z) where it is sure, and 255 everywhere else.

    probabilities: (X, Y, Z, class). Sure is what has at least the probability `least`.
    """
    labels: NDArray[np.uint8] = probabilities.argmax(axis=-1).astype(np.uint8)
    return np.where(probabilities.max(axis=-1) >= least, labels, np.uint8(IGNORED))


def one_of_each(labels: NDArray[np.uint8], background: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return one ear's labels (X, Y, Z) with the largest component of each structure alone.

    An ear has one of each structure. Further components are uncertain and become 255; one that lies
    mostly in `background` is never the one kept. All is 0 in `background`.
    """
    result = labels.copy()
    for value in np.unique(labels):
        if value in (0, IGNORED):
            continue
        numbered, found = find_components(labels == value, np.eye(4), 26)
        in_background = np.bincount(numbered[background], minlength=len(found) + 1)
        kept = [one for one in found if 2 * in_background[one.number] <= one.voxels][:1]
        result[(numbered > 0) & ~np.isin(numbered, [one.number for one in kept])] = IGNORED
    result[background] = 0
    return result
