"""The 2.5D U-Net with supervised attention (Wang et al. 2019; Shapey et al. 2019)."""

import math
from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution, ResidualUnit
from torch import Tensor, nn
from torch.nn import functional

from vsuda_cli.networks.instance_norm import split_instance_norms
from vsuda_cli.networks.padding import (
    Margins,
    crop,
    margins_to_multiple,
    pad_constant,
    pad_replicate,
)

Size = tuple[int, int, int]


class UNet2d5(nn.Module):
    """Logits for volumes whose slices are thicker than their pixels.

    The first levels work in plane, so that the voxels of the deeper, three-dimensional ones are
    nearly cubic. Level i: a residual unit, a strided convolution down, a transposed one up, an
    attention map over what came up and across, and a residual unit of one convolution. Any size
    of input is taken: it is padded inside by repeating its border, and the logits are cropped.
    """

    def __init__(
        self,
        class_count: int,
        channels: Sequence[int],
        kernels: Sequence[Size],
        strides: Sequence[Size],
        residual_units: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernels) == len(strides) + 1 or not strides:
            raise ValueError(
                f"{len(channels)} channel counts need as many kernels and one stride fewer, "
                f"not {len(kernels)} and {len(strides)}"
            )
        self.strides = tuple(strides)
        self.total_stride = tuple(
            math.prod(along_axis) for along_axis in zip(*strides, strict=True)
        )
        self.down = nn.ModuleList()
        self.reduce = nn.ModuleList()
        self.enlarge = nn.ModuleList()
        self.attention = nn.ModuleList()
        self.up = nn.ModuleList()
        width = 1
        for level, stride in enumerate(strides):
            here, below, kernel = channels[level], channels[level + 1], kernels[level]
            is_top = level == 0
            self.down.append(_residual(width, here, kernel, residual_units, dropout))
            self.reduce.append(Convolution(3, here, here, stride, kernel, dropout=dropout))
            self.enlarge.append(
                Convolution(3, below, here, stride, kernel, dropout=dropout, is_transposed=True)
            )
            self.attention.append(Attention(2 * here, kernel))
            out = class_count if is_top else here
            self.up.append(_residual(2 * here, out, kernel, 1, dropout, last_conv_only=is_top))
            width = here
        self.bottom_attention = Attention(width, kernels[-1])
        self.bottom = _residual(width, channels[-1], kernels[-1], residual_units, dropout)
        split_instance_norms(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, class, X, Y, Z) for images (B, 1, X, Y, Z)."""
        return self.forward_with_attention(x)[0]

    def forward_with_attention(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits, and the attention maps (B, 1, ...) in [0, 1], finest first, bottom last.

        The maps lie on the padded grid; `attention_targets` brings a mask to the same grids.
        """
        margins = self._margins(x)
        x = pad_replicate(x, margins)
        across = []
        for down, reduce in zip(self.down, self.reduce, strict=True):
            x = down(x)
            across.append(x)
            x = reduce(x)
        x, weights = self.bottom_attention(x)
        maps = [weights]
        x = self.bottom(x)
        for level in reversed(range(len(self.strides))):
            x = torch.cat([across.pop(), self.enlarge[level](x)], dim=1)
            x, weights = self.attention[level](x)
            maps.append(weights)
            x = self.up[level](x)
        return crop(x, margins), maps[::-1]

    def attention_targets(self, foreground: Tensor) -> list[Tensor]:
        """Return what each attention map should be for a mask (B, 1, X, Y, Z), finest first.

        A voxel of a coarser grid is foreground when any voxel under it is. Every label above 0
        counts as foreground alike: a target is 0 or 1, whatever the label's value.
        """
        target = pad_constant((foreground > 0).to(torch.float32), self._margins(foreground))
        targets = [target]
        for stride in self.strides:
            target = functional.max_pool3d(target, stride, stride)
            targets.append(target)
        return targets

    def _margins(self, x: Tensor) -> Margins:
        sizes, multiples = x.shape[2:], self.total_stride
        if all(size <= one for size, one in zip(sizes, multiples, strict=True)):
            # Instance normalisation needs two voxels at the bottom.
            multiples = (2 * multiples[0], *multiples[1:])
        return margins_to_multiple(sizes, multiples)


class Attention(nn.Module):
    """One weight in [0, 1] for each voxel; features are scaled by 1 + weight."""

    def __init__(self, channels: int, kernel: Size) -> None:
        super().__init__()
        half = channels // 2
        self.weigh = nn.Sequential(
            Convolution(3, channels, half, 1, kernel, act="RELU", norm=None),
            Convolution(3, half, 1, 1, kernel, act="SIGMOID", norm=None),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled features (B, C, X, Y, Z) and the weights (B, 1, X, Y, Z)."""
        weights: Tensor = self.weigh(x)
        return x * (1 + weights), weights


def _residual(
    in_channels: int,
    out_channels: int,
    kernel: Size,
    units: int,
    dropout: float,
    last_conv_only: bool = False,
) -> nn.Module:
    # PReLU and instance normalisation are MONAI's defaults, and the ones wanted here.
    unit: nn.Module = ResidualUnit(
        3,
        in_channels,
        out_channels,
        kernel_size=kernel,
        subunits=units,
        dropout=dropout,
        last_conv_only=last_conv_only,
    )
    return unit
