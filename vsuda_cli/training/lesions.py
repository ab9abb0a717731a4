"""Which labels are lesions and which anatomy, told by how many crops have one whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.images.components import find_components
from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training.data import Item, label_of

# A structure that so many of the labelled crops have is anatomy, another a lesion.
ANATOMY_SHARE = 0.8


@dataclass(frozen=True)
class Lesion:
    """A whole lesion: its crop, its voxels (N, 3), and the anatomy's centre (3,) there."""

    item: Item
    voxels: Tensor
    centre: Tensor


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


def whole_lesions(items: Sequence[Item], lesions: Sequence[int]) -> list[Lesion]:
    """Return the largest lesion of each item that has one whole; `lesions` are the labels."""
    found = []
    for item in items:
        label = label_of(item)
        voxels = whole_part(is_one_of(label, lesions))
        if len(voxels):
            found.append(Lesion(item, voxels, anatomy_centre(label, lesions)))
    return found


def whole_part(mask: Tensor) -> Tensor:
    """Return the voxels (N, 3) of a mask's largest component, none where the crop cuts it.

    Slices at the ends are the scan's own; it is the sides that show the other ear's tumour.
    """
    largest = largest_component(mask)
    if sides_of(largest).any():
        return largest.new_zeros((0, 3), dtype=torch.long)
    return largest.nonzero()


def sides_of(volume: Tensor) -> Tensor:
    """Return the voxels (N,) of a volume (X, Y, Z) at the ends of x and y."""
    ends = (volume[0], volume[-1], volume[:, 0], volume[:, -1])
    return torch.cat([end.flatten() for end in ends])


def largest_component(mask: Tensor) -> Tensor:
    """Return a mask's largest component; empty if the mask is."""
    numbered, parts = find_components(mask.cpu().numpy(), np.eye(4), 26)
    largest = numbered == parts[0].number if parts else numbered > 0
    return torch.from_numpy(largest).to(mask.device)


def place_of(lesion: Lesion, centre: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return where a lesion would lie in another crop: as far from the anatomy's centre as it does.

    label: that crop's label map (X, Y, Z); centre: of the anatomy there (3,). Returns the voxels
    (M, 3) inside the crop, and which of the lesion's own (N,) these are. Crops of one region show
    it at one scale and in one direction, so nothing is turned.
    """
    shift = (centre - lesion.centre).round().long()
    places = lesion.voxels.to(label.device) + shift.to(label.device)
    fits = ((places >= 0) & (places < torch.tensor(label.shape, device=label.device))).all(dim=1)
    return places[fits], fits


def is_one_of(label: Tensor, values: Sequence[int]) -> Tensor:
    """Return the mask of a label map's voxels that have one of the values."""
    return torch.isin(label, torch.tensor(values, dtype=label.dtype, device=label.device))


def anatomy_centre(label: Tensor, lesions: Sequence[int]) -> Tensor:
    """Return the centre of the anatomy (3,) in voxels, or the crop's middle if it has none."""
    anatomy = ~is_one_of(label, [0, IGNORED, *lesions])
    if anatomy.any():
        return anatomy.nonzero().float().mean(dim=0).cpu()
    return (torch.tensor(label.shape) - 1) / 2
