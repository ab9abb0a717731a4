"""The residual translation network of CycleGAN and CUT, in two and three dimensions.

Johnson et al. 2016 as used by Zhu et al. 2017 (CycleGAN) and Park et al. 2020 (CUT).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vsuda_cli.networks.anisotropic import (
    ReflectionPad,
    check_dims,
    convolution,
    transposed_convolution,
)
from vsuda_cli.networks.blur import BlurDown, BlurUp
from vsuda_cli.networks.instance_norm import InstanceNorm
from vsuda_cli.networks.padding import Margins, crop, margins_to_multiple, pad_reflect

# The plane is halved twice and doubled twice.
_MULTIPLE = 4
# Number of the first residual block among `layers`.
FIRST_BLOCK = 12


class ResnetGenerator(nn.Module):
    """An image in [0, 1] to an image in [0, 1] of the same size.

    Inside, intensities are in [-1, 1] (the networks' own range, ended by tanh) and the plane is
    mirrored at its borders up to a multiple of 4. In three dimensions the slices are never
    down-sampled: the first and last kernel are (7, 7, 3), the others 3 x 3 x 3, the strides
    (2, 2, 1); slabs of any thickness go through, one slice included.

    `layers` are numbered as in CUT with anti-aliasing: 0 the padded input, 1-3 first convolution,
    normalisation, ReLU; 4-7 and 8-11 convolution (128 and 256 channels at base 64), normalisation,
    ReLU, blur and halve; 12 + i residual block i. Without anti-aliasing the convolutions 4 and 8
    halve and the layers 7 and 11 do nothing, so that a number means the same layer in both.
    """

    def __init__(self, dims: int, base_channels: int, blocks: int, antialias: bool = False) -> None:
        super().__init__()
        check_dims(dims)
        self.dims = dims
        self.base_channels = base_channels
        self.blocks = blocks
        wide = 4 * base_channels
        layers: list[nn.Module] = [
            ReflectionPad(dims, (3, 1)),
            convolution(dims, 1, base_channels, (7, 3)),
            InstanceNorm(),
            nn.ReLU(inplace=True),
        ]
        for channels in (base_channels, 2 * base_channels):
            layers += _halve(dims, channels, 2 * channels, antialias)
        layers += [ResidualBlock(dims, wide) for _ in range(blocks)]
        for channels in (wide, wide // 2):
            layers += _double(dims, channels, channels // 2, antialias)
        layers += [
            ReflectionPad(dims, (3, 1)),
            convolution(dims, base_channels, 1, (7, 3)),
            nn.Tanh(),
        ]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the translation of `x`, (B, 1, X, Y[, Z]) in [0, 1]."""
        return self.forward_with_features(x, ())[0]

    def forward_with_features(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the translation and what `encode(x, layers)` returns, in one pass."""
        padded, margins = self._padded(x)
        features, y = self._run(padded, layers, len(self.layers))
        return (crop(y, margins) + 1) / 2, features

    def encode(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the outputs of the numbered `layers` for `x` in [0, 1], in rising order.

        Nothing after the last one is computed. Their grids include the padding.
        """
        padded, _ = self._padded(x)
        return self._run(padded, layers, max(layers) + 1)[0]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        """Return the channel count of each layer; raise ValueError for one past the encoder."""
        self._check(layers)
        channels = []
        for number in sorted(layers):
            if number == 0:
                channels.append(1)
            elif number < 4:
                channels.append(self.base_channels)
            elif number < 8:
                channels.append(2 * self.base_channels)
            else:
                channels.append(4 * self.base_channels)
        return channels

    def _check(self, layers: Sequence[int]) -> None:
        last = FIRST_BLOCK + self.blocks - 1
        for number in layers:
            if not 0 <= number <= last:
                raise ValueError(
                    f"layer {number} is not in the encoder, whose layers end at {last} with "
                    f"{self.blocks} residual blocks"
                )

    def _padded(self, x: Tensor) -> tuple[Tensor, Margins]:
        """Return `x` in [-1, 1] with mirrored borders, and how wide these are."""
        margins = margins_to_multiple(x.shape[2:], (_MULTIPLE, _MULTIPLE, 1)[: self.dims])
        return pad_reflect(2 * x - 1, margins), margins

    def _run(self, x: Tensor, layers: Sequence[int], stop: int) -> tuple[list[Tensor], Tensor]:
        """Return the outputs of the numbered `layers`, and that of the last one before `stop`."""
        self._check(layers)
        features = []
        for number in range(stop):
            x = self.layers[number](x)
            if number in layers:
                # A ReLU writes over what it is given, so what stands before one is copied.
                overwritten = isinstance(self.layers[number + 1], nn.ReLU)
                features.append(x.clone() if overwritten else x)
        return features, x


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), mirrored at the borders."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ReflectionPad(dims, (1, 1)),
            convolution(dims, channels, channels, (3, 3)),
            InstanceNorm(),
            nn.ReLU(inplace=True),
            ReflectionPad(dims, (1, 1)),
            convolution(dims, channels, channels, (3, 3)),
            InstanceNorm(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return torch.add(x, self.body(x))


def _halve(dims: int, in_channels: int, out_channels: int, antialias: bool) -> list[nn.Module]:
    stride = (1, 1) if antialias else (2, 1)
    return [
        convolution(dims, in_channels, out_channels, (3, 3), stride, padding=(1, 1)),
        InstanceNorm(),
        nn.ReLU(inplace=True),
        BlurDown(dims) if antialias else nn.Identity(),
    ]


def _double(dims: int, in_channels: int, out_channels: int, antialias: bool) -> list[nn.Module]:
    if antialias:
        enlarge = [
            BlurUp(dims),
            convolution(dims, in_channels, out_channels, (3, 3), padding=(1, 1)),
        ]
    else:
        enlarge = [transposed_convolution(dims, in_channels, out_channels)]
    return [*enlarge, InstanceNorm(), nn.ReLU(inplace=True)]
