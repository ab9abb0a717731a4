"""In-plane down- and up-sampling by 2 with a low-pass filter (Zhang 2019, as used by CUT)."""

from torch import Tensor, nn
from torch.nn import functional

from vsuda_cli.networks.anisotropic import ReflectionPad


class BlurDown(nn.Module):
    """Filter in plane with [1, 2, 1] / 4, then keep every second voxel; slices stay apart.

    The filter is two means of two voxels in a row, so no weights need be kept.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.pad = ReflectionPad(dims, (1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ceil(X / 2), ceil(Y / 2)[, Z])."""
        x = self.pad(x)
        if self.dims == 2:
            return functional.avg_pool2d(functional.avg_pool2d(x, 2, stride=1), 2)
        return functional.avg_pool3d(functional.avg_pool3d(x, (2, 2, 1), stride=1), (2, 2, 1))


class BlurUp(nn.Module):
    """Double the in-plane size and filter with [1, 3, 3, 1] / 4.

    With repeated borders this filter is linear interpolation between voxel centres.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2 X, 2 Y[, Z])."""
        if self.dims == 2:
            return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return functional.interpolate(
            x, scale_factor=(2, 2, 1), mode="trilinear", align_corners=False
        )
