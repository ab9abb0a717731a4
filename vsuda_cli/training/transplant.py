"""More of a rare lesion: labelled crops without one get those of other subjects' crops."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.images.components import find_components
from vsuda_cli.training.contrast_prior import is_anatomy
from vsuda_cli.training.data import Item


def transplant_lesions(
    items: Sequence[Item], label_count: int, copies: int, seed: int
) -> list[Item]:
    """Return new items: each crop where a lesion has room `copies` times, with other subjects'.

    Lesions are the labels of 1 to `label_count` that many crops lack. The largest part of one is
    put where it lies from the anatomy's centre in its own crop, with its own intensities; it covers
    no other structure, and where the crop has a lesion already it has no room. Donors are drawn by
    `seed`. Crops of one region show it at one scale and in one direction, so nothing is turned.
    """
    lesions = [value for value in range(1, label_count + 1) if not is_anatomy(items, value)]
    found = [(donor, _whole_lesion(donor, lesions)) for donor in items]
    donors = [(donor, inside) for donor, inside in found if len(inside)]
    rng = np.random.default_rng(seed)
    made: list[Item] = []
    for item in items:
        mine: list[Item] = []
        for number in rng.permutation(len(donors)):
            donor, inside = donors[number]
            if len(mine) < copies and donor.subject != item.subject:
                copy = _with_lesion(item, donor, inside, lesions)
                mine += [] if copy is None else [copy]
        made += mine
    return made


def _with_lesion(item: Item, donor: Item, inside: Tensor, lesions: list[int]) -> Item | None:
    """Return the item with the donor's voxels `inside` (N, 3), or None where they have no room."""
    own, theirs = _label(item), _label(donor)
    places = inside + (_centre(own, lesions) - _centre(theirs, lesions)).round().long()
    fits = ((places >= 0) & (places < torch.tensor(own.shape, device=own.device))).all(dim=1)
    x, y, z = places[fits].T
    if len(x) == 0 or _is_lesion(own[x, y, z], lesions).any():
        return None
    free = own[x, y, z] == 0
    to, where = (x[free], y[free], z[free]), tuple(inside[fits][free].T)
    image, label = item.image.clone(), own.clone()
    image[0][to] = donor.image[0][where]
    label[to] = theirs[where]
    return replace(item, image=image, label=label)


def _whole_lesion(item: Item, lesions: list[int]) -> Tensor:
    """Return the voxels (N, 3) of the largest lesion, none where the crop cuts it."""
    label = _label(item)
    mask = _is_lesion(label, lesions).cpu().numpy()
    numbered, parts = find_components(mask, np.eye(4), 26)
    largest = np.argwhere(numbered == parts[0].number) if parts else np.zeros((0, 3), np.intp)
    # Slices at the ends are the scan's own; it is the sides that show the other ear's tumour.
    if len(largest) and (largest.min(0)[:2] == 0).any():
        largest = largest[:0]
    if len(largest) and (largest.max(0)[:2] == np.array(mask.shape[:2]) - 1).any():
        largest = largest[:0]
    return torch.from_numpy(largest).to(label.device)


def _label(item: Item) -> Tensor:
    if item.label is None:
        raise ValueError(f"{item.case} has no label")
    return item.label


def _is_lesion(label: Tensor, lesions: list[int]) -> Tensor:
    return torch.isin(label, torch.tensor(lesions, dtype=label.dtype, device=label.device))


def _centre(label: Tensor, lesions: list[int]) -> Tensor:
    """Return the centre of the anatomy (3,) in voxels, or of a crop without labels of it."""
    anatomy = ((label > 0) & ~_is_lesion(label, lesions)).nonzero().float()
    if len(anatomy):
        return anatomy.mean(dim=0)
    return (torch.tensor(label.shape, device=label.device) - 1) / 2
