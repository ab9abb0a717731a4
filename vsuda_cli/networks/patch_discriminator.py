"""The discriminator that judges overlapping patches (PatchGAN, Isola et al. 2017)."""

from torch import Tensor, nn

from vsuda_cli.networks.anisotropic import check_dims, convolution
from vsuda_cli.networks.blur import BlurDown
from vsuda_cli.networks.instance_norm import InstanceNorm

# From the first layer's channels on, each layer doubles them up to this factor.
_WIDEST = 8
_LEAK = 0.2


class PatchDiscriminator(nn.Module):
    """An image in [0, 1] to a map of scores, one for each patch that it overlooks.

    With 3 layers a score sees 70 x 70 voxels in plane. In three dimensions the kernels are
    (4, 4, 3) and the strides (2, 2, 1), and a score is given for each slice. With `antialias` the
    convolutions keep the size, and blur and halve instead, as CUT does.
    """

    def __init__(self, dims: int, base_channels: int, layers: int, antialias: bool = False) -> None:
        super().__init__()
        check_dims(dims)
        modules: list[nn.Module] = []
        width = 1
        for layer in range(layers):
            wider = base_channels * min(2**layer, _WIDEST)
            stride = (1, 1) if antialias else (2, 1)
            modules.append(convolution(dims, width, wider, (4, 3), stride, padding=(1, 1)))
            if layer > 0:
                modules.append(InstanceNorm())
            modules.append(nn.LeakyReLU(_LEAK, inplace=True))
            if antialias:
                modules.append(BlurDown(dims))
            width = wider
        wider = base_channels * min(2**layers, _WIDEST)
        modules += [
            convolution(dims, width, wider, (4, 3), padding=(1, 1)),
            InstanceNorm(),
            nn.LeakyReLU(_LEAK, inplace=True),
            convolution(dims, wider, 1, (4, 3), padding=(1, 1)),
        ]
        self.body = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, 1, X', Y'[, Z]) for `x` (B, 1, X, Y[, Z]) in [0, 1]."""
        scores: Tensor = self.body(2 * x - 1)
        return scores


def smallest_plane(layers: int) -> int:
    """Return the fewest in-plane voxels for which every normalisation sees more than one."""
    return 3 * (1 << layers)
