"""Anatomy in unlabelled crops, as large as in labelled ones.

A network that is not sure of a small structure's outline guesses it too large, and one that learns
from such guesses larger still. But how large anatomy is, other subjects tell.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vsuda_cli.training.data import Item, guess_of, label_of
from vsuda_cli.training.lesions import largest_component


def with_sized_anatomy(
    items: Sequence[Item], labelled: Sequence[Item], anatomy: Sequence[int]
) -> list[Item]:
    """Return unlabelled items with labels of `anatomy` from their guesses, all else background.

    A label is where its probability is above a threshold, the one that gives all items together as
    many voxels as labelled items have on average; of these an item keeps the largest component.
    """
    labels = [torch.zeros_like(label_of(item)) for item in items]
    for value in anatomy:
        limit = _size_threshold(items, labelled, value)
        for item, label in zip(items, labels, strict=True):
            there = (guess_of(item)[value] >= limit).to(label.device)
            label[largest_component(there)] = value
    return [replace(item, label=label) for item, label in zip(items, labels, strict=True)]


def _size_threshold(items: Sequence[Item], labelled: Sequence[Item], value: int) -> float:
    """Return the probability of `value` that items exceed in as many voxels as are expected."""
    voxels = sum(int((label_of(item) == value).sum()) for item in labelled)
    expected = max(1, round(voxels / len(labelled) * len(items)))
    probability: Tensor = torch.cat([guess_of(item)[value].flatten() for item in items])
    return float(probability.topk(min(expected, len(probability))).values[-1])
