"""The sliced Wasserstein distance between two sets of images, a score that needs no labels."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# In-plane side of the compared patches, in voxels: texture and edges, not anatomy.
PATCH = 7
PATCHES = 4096
DIRECTIONS = 128
SEED = 0


def sliced_wasserstein(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Return the mean 1-Wasserstein distance of random projections of in-plane patches.

    first, second: volumes (1, X, Y, Z) in [0, 1]; where they are narrower than 7 voxels, their
    border goes on. After Rabin et al. 2011; the patches and directions are the same at every call,
    so that epochs can be compared.
    """
    generator = torch.Generator().manual_seed(SEED)
    directions = torch.randn(PATCH * PATCH, DIRECTIONS, generator=generator)
    directions = directions / directions.norm(dim=0)
    a = (_patches(first, generator) @ directions).sort(dim=0).values
    b = (_patches(second, generator) @ directions).sort(dim=0).values
    return float((a - b).abs().mean())


def _patches(volumes: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Return (PATCHES, PATCH * PATCH) intensities, as many from each volume."""
    share = -(-PATCHES // len(volumes))
    found = []
    for volume in volumes:
        windows = _widened(volume)[0].cpu().unfold(0, PATCH, 1).unfold(1, PATCH, 1)
        place = torch.rand(3, share, generator=generator)
        x, y, z = (
            (where * size).long() for where, size in zip(place, windows.shape[:3], strict=True)
        )
        found.append(windows[x, y, z].flatten(1))
    return torch.cat(found)[:PATCHES]


def _widened(volume: Tensor) -> Tensor:
    """Return a volume whose planes are as wide as a patch, at least."""
    missing = [max(0, PATCH - size) for size in volume.shape[1:3]]
    return functional.pad(volume, (0, 0, 0, missing[1], 0, missing[0]), mode="replicate")
