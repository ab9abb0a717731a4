"""Anatomy in unlabelled crops: as large as in labelled ones, and where it lies there.

A network that is not sure of a small structure's outline guesses it too large, and one that learns
from such guesses larger still; or it mistakes something similar for it. Other subjects tell how
large anatomy is and where in a crop it lies.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.images.location import outside_region, structure_region
from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training.data import Item, guess_of, label_of
from vsuda_cli.training.lesions import largest_component

# The most probable voxels of a structure are it, up to the first share of its size; what is
# probable beyond the second is background; what is between is for labelled crops to teach.
CORE, REACH = 0.5, 2.0


def with_sized_anatomy(
    items: Sequence[Item],
    labelled: Sequence[Item],
    anatomy: Sequence[int],
    *,
    spacing_mm: Sequence[float],
    margin_mm: float,
) -> list[Item]:
    """Return unlabelled items with labels of `anatomy` from their guesses, all else background.

    An item keeps the largest component of what is sure; the outline is 255, ignored. Structures lie
    within `margin_mm` of where a labelled crop has them; 0: anywhere. Thresholds of probability are
    those that give all items together as many voxels as labelled items have on average.
    """
    labels = [torch.zeros_like(label_of(item)) for item in items]
    for value in anatomy:
        voxels = sum(int((label_of(item) == value).sum()) for item in labelled) / len(labelled)
        if voxels == 0:
            continue
        found = [guess_of(item)[value].clone() for item in items]
        if margin_mm > 0:
            masks = [(label_of(item) == value).cpu().numpy().astype(np.uint8) for item in labelled]
            region = structure_region(masks, spacing_mm, margin_mm)
            for probability in found:
                outside = outside_region(region, tuple(probability.shape))
                probability[torch.from_numpy(outside)] = 0
        core, reach = (_threshold(found, share * voxels * len(found)) for share in (CORE, REACH))
        for probability, label in zip(found, labels, strict=True):
            # Where nothing is yet: another structure may lie beside it.
            label[(probability >= reach).to(label.device) & (label == 0)] = IGNORED
            label[largest_component(probability >= core).to(label.device)] = value
    return [replace(item, label=label) for item, label in zip(items, labels, strict=True)]


def _threshold(probabilities: Sequence[Tensor], voxels: float) -> float:
    """Return the probability that the `voxels` most probable voxels reach; always above 0."""
    every = torch.cat([probability.flatten() for probability in probabilities])
    count = min(max(1, round(voxels)), len(every))
    return max(float(every.topk(count).values[-1]), torch.finfo(every.dtype).tiny)
