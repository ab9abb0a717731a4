"""Which labels are lesions and which anatomy, told by how many crops have one whole."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.images.components import find_components
from vsuda_cli.training.data import Item, label_of

# A structure that so many of the labelled crops have is anatomy, another a lesion.
ANATOMY_SHARE = 0.8


def find_lesions(items: Sequence[Item], label_count: int) -> list[int]:
    """Return the labels of 1 to `label_count` that many items lack.

    What the sides of a crop cut is not counted, for a large tumour shows in the other ear's crop
    too; but a structure that no crop shows whole is anatomy.
    """
    lesions = []
    for value in range(1, label_count + 1):
        whole = sum(len(whole_part(label_of(item) == value)) > 0 for item in items)
        if 0 < whole < ANATOMY_SHARE * len(items):
            lesions.append(value)
    return lesions


def whole_part(mask: Tensor) -> Tensor:
    """Return the voxels (N, 3) of a mask's largest component, none where the crop cuts it.

    Slices at the ends are the scan's own; it is the sides that show the other ear's tumour.
    """
    array = mask.cpu().numpy()
    numbered, parts = find_components(array, np.eye(4), 26)
    if not parts:
        return mask.new_zeros((0, 3), dtype=torch.long)
    largest = np.argwhere(numbered == parts[0].number)
    last = np.array(array.shape[:2]) - 1
    if (largest.min(axis=0)[:2] == 0).any() or (largest.max(axis=0)[:2] == last).any():
        largest = largest[:0]
    return torch.from_numpy(largest).to(mask.device)
