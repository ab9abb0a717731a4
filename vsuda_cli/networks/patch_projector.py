"""Feature vectors at random positions, projected for the contrastive loss (Park et al. 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# Added to lengths before dividing by them.
_EPSILON = 1e-7


class PatchProjector(nn.Module):
    """One two-layer perceptron for each feature map, ending on the unit sphere.

    The perceptrons are made at once from the known channel counts, so that saved weights always
    have the same names and shapes.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(inplace=True), nn.Linear(width, width))
            for count in channels
        )

    def forward(self, features: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Return (B, P, width) unit vectors for each map (B, C, X, Y[, Z]) at its positions (P,).

        Give the positions of `draw_positions` to both the query and the key features.
        """
        projected = []
        for feature, where, project in zip(features, positions, self.projections, strict=True):
            vectors = feature.flatten(2).index_select(2, where).transpose(1, 2)
            # In single precision: a dot product of 256 products decides between close patches.
            projected.append(functional.normalize(project(vectors).float(), dim=-1, eps=_EPSILON))
        return projected


def draw_positions(voxels: Sequence[int], patches: int, generator: torch.Generator) -> list[Tensor]:
    """Return flat voxel indices, up to `patches` different ones for each map of so many voxels.

    `generator` is one of the CPU, so that they are the same on every device.
    """
    return [torch.randperm(count, generator=generator)[:patches] for count in voxels]
