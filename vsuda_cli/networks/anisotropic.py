"""Layers in two dimensions, or in three with their own extent across the slices (z).

An extent is given as (in plane, across slices); in two dimensions the second is not used.
"""

from torch import Tensor, nn

from vsuda_cli.networks.padding import Margins, pad_reflect

Extent = tuple[int, int]


def check_dims(dims: int) -> None:
    """Raise ValueError unless `dims` is 2 or 3."""
    if dims not in (2, 3):
        raise ValueError(f"dims is {dims}; networks are made in 2 or 3 dimensions")


def convolution(
    dims: int,
    in_channels: int,
    out_channels: int,
    kernel: Extent,
    stride: Extent = (1, 1),
    padding: Extent = (0, 0),
) -> nn.Module:
    """Return a convolution with bias and zero padding."""
    (k, kz), (s, sz), (p, pz) = kernel, stride, padding
    if dims == 2:
        return nn.Conv2d(in_channels, out_channels, (k, k), (s, s), (p, p))
    return nn.Conv3d(in_channels, out_channels, (k, k, kz), (s, s, sz), (p, p, pz))


def transposed_convolution(dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """Return the 3 (x 3 x 3) transposed convolution that doubles the in-plane size exactly."""
    if dims == 2:
        return nn.ConvTranspose2d(
            in_channels, out_channels, 3, stride=2, padding=1, output_padding=1
        )
    return nn.ConvTranspose3d(
        in_channels, out_channels, 3, stride=(2, 2, 1), padding=1, output_padding=(1, 1, 0)
    )


class ReflectionPad(nn.Module):
    """Mirror padding; across too few slices the border slice is repeated instead."""

    def __init__(self, dims: int, width: Extent) -> None:
        super().__init__()
        in_plane, across = width
        plane: Margins = ((in_plane, in_plane), (in_plane, in_plane))
        self.margins: Margins = plane if dims == 2 else (*plane, (across, across))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, C, X, Y[, Z]) padded."""
        return pad_reflect(x, self.margins)
