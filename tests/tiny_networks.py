"""Sizes of networks that learn nothing but calculate everything, in no time."""

from dataclasses import replace
from typing import Any

from vsuda_cli.config import Augmentation, UNet

UNET = UNet(
    channels=(4, 6, 8),
    kernels=((3, 3, 1), (3, 3, 3), (3, 3, 3)),
    strides=((2, 2, 1), (2, 2, 2)),
    residual_units=1,
)
# Without anything random.
STILL_UNET = replace(UNET, dropout=0.0)
STILL = Augmentation(gamma=0, contrast=0, brightness=0, noise=0, bias=0)
# Of translation's settings.
GENERATORS: dict[str, Any] = {
    "base_channels": 4,
    "residual_blocks": 1,
    "discriminator_channels": 4,
    "discriminator_layers": 1,
    "nce_layers": (0, 4),
    "nce_patches": 8,
    "nce_width": 8,
}
