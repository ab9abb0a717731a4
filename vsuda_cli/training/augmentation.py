"""Random changes of training patches, batched on the training device."""

import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.config import Augmentation
from vsuda_cli.networks.contrast_curve import smooth_in_plane

# Control points of the smooth field along each axis.
BIAS_POINTS = 4
# Voxels on each side that a blur sums over; two sigmas of 1.5.
BLUR_REACH = 3
# Standard deviation of white noise over the median of its absolute value, and over that of what
# smoothing in plane takes from it: with weights w, sqrt(1 - 2 w_0 + sum of w^2).
DEVIATION_OVER_MEDIAN = 1.4826
SMOOTHED_AWAY = 0.891


def augment_intensity(images: Tensor, ranges: Augmentation, generator: torch.Generator) -> Tensor:
    """Return images (B, 1, X, Y, Z) in [0, 1] with random blur, gamma, contrast, bias field
    and noise.

    Each image of the batch draws its own parameters; geometry stays.
    """
    device = images.device

    def draw() -> Tensor:
        unit = torch.rand(len(images), generator=generator, device=device) * 2 - 1
        return unit.view(-1, 1, 1, 1, 1)

    if ranges.blur:
        images = _blurred(images, ranges.blur * (draw() + 1) / 2)
    changed = images.clamp(1e-6, 1) ** torch.exp(ranges.gamma * draw())
    if ranges.bias:
        points = (len(images), 1, BIAS_POINTS, BIAS_POINTS, BIAS_POINTS)
        field = torch.rand(points, generator=generator, device=device) * 2 - 1
        smooth = functional.interpolate(
            field, size=images.shape[2:], mode="trilinear", align_corners=True
        )
        changed = changed * torch.exp(ranges.bias * smooth)
    changed = (changed - 0.5) * (1 + ranges.contrast * draw()) + 0.5 + ranges.brightness * draw()
    if ranges.noise:
        level = ranges.noise * draw().abs()
        noise = torch.randn(changed.shape, generator=generator, device=device)
        changed = changed + level * noise
    return changed.clamp(0, 1)


def _blurred(images: Tensor, sigmas: Tensor) -> Tensor:
    """Blur each image (B, 1, X, Y, Z) in plane by a Gaussian of its own sigma, in voxels."""
    reach = torch.arange(-BLUR_REACH, BLUR_REACH + 1, device=images.device, dtype=images.dtype)
    kernels = torch.exp(-(reach**2) / (2 * sigmas.view(-1, 1).clamp(min=1e-3) ** 2))
    kernels = (kernels / kernels.sum(dim=1, keepdim=True))[:, None]
    count = len(images)
    # Each image is a channel of its own, so that one call blurs all.
    stack = images.transpose(0, 1)
    margin = (0, 0, BLUR_REACH, BLUR_REACH, BLUR_REACH, BLUR_REACH)
    stack = functional.pad(stack, margin, mode="replicate")
    stack = functional.conv3d(stack, kernels[..., None, None], groups=count)
    stack = functional.conv3d(stack, kernels[:, :, None, :, None], groups=count)
    return stack.transpose(0, 1)


def noise_level(images: Tensor) -> Tensor:
    """Return the standard deviation (B, 1, 1, 1, 1) of the noise in images (B, 1, X, Y, Z).

    By the median of what smoothing takes away, which edges do not move; in the brighter half of
    the voxels, for where there is no signal there is less noise.
    """
    smooth = smooth_in_plane(images, (2, 3))
    taken = (images - smooth).abs()
    levels = [part[shown > shown.median()] for part, shown in zip(taken, smooth, strict=True)]
    medians = [level.median() if len(level) else level.new_zeros(()) for level in levels]
    noise = torch.stack(medians) * DEVIATION_OVER_MEDIAN / SMOOTHED_AWAY
    return noise.view(-1, 1, 1, 1, 1)


def scale_structures(
    images: Tensor,
    labels: Tensor,
    factors: tuple[tuple[float, float], ...],
    generator: torch.Generator,
) -> Tensor:
    """Multiply each structure's voxels by a factor drawn from its own range, one an image.

    images: (B, 1, X, Y, Z) in [0, 1]; labels: (B, X, Y, Z); `factors` are the ranges of labels 1,
    2, ... After Choi, crossMoDA 2021: U(0.5, 2) for the tumour.
    """
    gains = torch.ones_like(images)
    for structure, (low, high) in enumerate(factors, start=1):
        drawn = torch.rand(len(images), generator=generator, device=images.device)
        factor = (low + (high - low) * drawn).view(-1, 1, 1, 1, 1)
        gains = torch.where((labels == structure)[:, None], factor, gains)
    return (images * gains).clamp(0, 1)


def mirror_some(
    images: Tensor, labels: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Flip a `share` of images (B, 1, X, Y, Z) and their labels (B, X, Y, Z) along x."""
    flipped = torch.rand(len(images), generator=generator, device=images.device) < share
    mirrored = torch.where(flipped.view(-1, 1, 1, 1, 1), images.flip(2), images)
    return mirrored, torch.where(flipped.view(-1, 1, 1, 1), labels.flip(1), labels)
