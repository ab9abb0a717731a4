"""More of a rare lesion: labelled crops without one get those of other subjects' crops."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.training.data import Item, label_of
from vsuda_cli.training.lesions import find_lesions, whole_part


def transplant_lesions(
    items: Sequence[Item], label_count: int, copies: int, seed: int
) -> list[Item]:
    """Return new items: each crop where a lesion has room `copies` times, with other subjects'.

    Lesions are the labels of 1 to `label_count` that many crops lack. The largest is put where it
    lies from the anatomy's centre in its own crop, with its own intensities; it covers no other
    structure, and where the crop has a lesion already it has no room. Donors are drawn by `seed`.
    Crops of one region show it at one scale and in one direction, so nothing is turned.
    """
    lesions = find_lesions(items, label_count)
    found = [(donor, whole_part(_is_lesion(label_of(donor), lesions))) for donor in items]
    donors = [(donor, inside) for donor, inside in found if len(inside)]
    rng = np.random.default_rng(seed)
    made: list[Item] = []
    for item in items:
        mine: list[Item] = []
        for number in rng.permutation(len(donors)):
            if len(mine) == copies:
                break
            donor, inside = donors[number]
            if donor.subject == item.subject:
                continue
            copy = _with_lesion(item, donor, inside, lesions)
            if copy is not None:
                mine.append(copy)
        made += mine
    return made


def _with_lesion(item: Item, donor: Item, inside: Tensor, lesions: list[int]) -> Item | None:
    """Return the item with the donor's voxels `inside` (N, 3), or None where they have no room."""
    own, theirs = label_of(item), label_of(donor)
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


def _is_lesion(label: Tensor, lesions: list[int]) -> Tensor:
    return torch.isin(label, torch.tensor(lesions, dtype=label.dtype, device=label.device))


def _centre(label: Tensor, lesions: list[int]) -> Tensor:
    """Return the centre of the anatomy (3,) in voxels, or of a crop without labels of it."""
    anatomy = ((label > 0) & ~_is_lesion(label, lesions)).nonzero().float()
    if len(anatomy):
        return anatomy.mean(dim=0)
    return (torch.tensor(label.shape, device=label.device) - 1) / 2
