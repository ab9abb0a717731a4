"""Lesions as they might have grown in others: some turned, scaled and moved ones of each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vsuda_cli.training.data import label_of
from vsuda_cli.training.lesions import Lesion, is_one_of

# A lesion is turned about z by up to so much, scaled by up to this factor or its inverse, and moved
# by up to this share of its extent along each axis.
LARGEST_TURN_DEGREES = 10.0
LARGEST_SCALE = 1.25
LARGEST_MOVE = 0.1


def varied(lesion: Lesion, lesions: Sequence[int], rng: np.random.Generator) -> Lesion:
    """Return a lesion of another direction, size and place in its own crop, all near its own.

    lesions: the labels that are. The lesions of a few subjects alone would be learnt by heart, as
    places where to say lesion with no look at the image. What of it would cover other structures,
    or lie outside the crop, is left out.
    """
    item = lesion.item
    label, voxels = label_of(item).cpu(), lesion.voxels.cpu()
    own = torch.zeros_like(label)
    own[tuple(voxels.T)] = label[tuple(voxels.T)]
    centre, extent = voxels.float().mean(dim=0).numpy(), np.ptp(voxels.numpy(), axis=0) + 1
    turn, growth, *move = rng.uniform(-1, 1, 5)
    # From where it comes to lie back to where it lies; pixels are square, so a turn in voxels is
    # one in mm.
    rotation = Rotation.from_euler("z", LARGEST_TURN_DEGREES * turn, degrees=True)
    back = rotation.as_matrix() * LARGEST_SCALE**growth
    goal = centre + LARGEST_MOVE * extent * move
    # A lesion is a small part of its crop: no more is resampled than it can come to fill.
    furthest = np.abs(voxels.numpy() - centre).max(axis=0)
    reach = np.abs(np.linalg.inv(back)) @ furthest + 1
    low = np.maximum(np.floor(goal - reach), 0).astype(int)
    high = np.minimum(np.ceil(goal + reach) + 1, label.shape).astype(int)
    box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    offset, size = centre - back @ (goal - low), tuple(high - low)
    image, moved = item.image.cpu().clone(), torch.zeros_like(label)
    shown = ndimage.affine_transform(
        item.image[0].cpu().numpy(), back, offset, output_shape=size, order=1
    )
    inside = ndimage.affine_transform(own.numpy(), back, offset, output_shape=size, order=0)
    image[0][box], moved[box] = torch.from_numpy(shown), torch.from_numpy(inside)
    others = torch.where(is_one_of(label, lesions), 0, label)
    moved = torch.where(others == 0, moved, 0)
    # The anatomy, and so its centre, is where it was.
    changed = replace(item, image=image, label=others + moved)
    return replace(lesion, item=changed, voxels=moved.nonzero())
