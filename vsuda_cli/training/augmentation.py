"""Random changes of training patches, batched on the training device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.config import Augmentation
from vsuda_cli.networks.contrast_curve import show_through

# Control points of the smooth field along each axis.
BIAS_POINTS = 4
# Voxels on each side that a blur sums over; two sigmas of 1.5.
BLUR_REACH = 3
# Random heights of a curve, the points that it is drawn on, and how far an anchor reaches.
CURVE_POINTS = 6
FINE_POINTS = 41
ANCHOR_WIDTH = 0.06


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


def random_structure_intensity(
    images: Tensor,
    labels: Tensor,
    share: float,
    ranges: Sequence[tuple[float, float]],
    generator: torch.Generator,
) -> Tensor:
    """Give labelled structures a random mean intensity, each within its range, and texture.

    images: (B, 1, X, Y, Z) in [0, 1]; labels: (B, X, Y, Z); `ranges` are those of labels 1, 2, ...
    A `share` of the images is changed, all their structures independently, their own texture kept
    at a random strength; after SynthSeg (Billot et al. 2023), which draws every image anew.
    """
    varied = []
    for image, label in zip(images, labels, strict=True):
        # Drawn even where nothing changes, so that one image's labels do not move the next draws.
        chosen, *draws = torch.rand(1 + 2 * len(ranges), generator=generator, device=images.device)
        for structure, (low, high) in enumerate(ranges, start=1):
            inside = (label == structure)[None]
            place, texture = draws[2 * structure - 2 : 2 * structure]
            if chosen < share and inside.any():
                mean = low + (high - low) * place
                own = mean + texture * (image - image[inside].mean())
                # Not in place: where images come from a generator, gradients flow through them.
                image = torch.where(inside, own, image)
        varied.append(image)
    return torch.stack(varied).clamp(0, 1)


@dataclass(frozen=True)
class CurvePrior:
    """What is known of the curve from one contrast to another.

    around: heights (N,) of a curve that it resembles. anchors: (K, 3) rows of an intensity and the
    lowest and highest value that it may go to.
    """

    around: Tensor | None = None
    anchors: Tensor | None = None
    # The largest part of the way from `around` to a random curve.
    distance: float = 1.0


def random_curve(
    images: Tensor, share: float, prior: CurvePrior, generator: torch.Generator
) -> Tensor:
    """Send a `share` of images (B, 1, X, Y, Z) in [0, 1] through random piecewise linear curves.

    Rising or not: tissue may change its order of brightness, as between two contrasts. Where a
    curve is known about, an image's own lies a random part of the way from it to a random one. At
    anchors it bends to a value within their ranges, and what gave no signal stays dark.
    """
    device = images.device
    varied = []
    for image in images:
        chosen, distance = torch.rand(2, generator=generator, device=device)
        coarse = torch.rand(CURVE_POINTS, generator=generator, device=device)
        heights = _as_fine(coarse)
        if prior.around is not None:
            heights = torch.lerp(_as_fine(prior.around), heights, prior.distance * distance)
        if prior.anchors is not None:
            places = torch.rand(len(prior.anchors), generator=generator, device=device)
            heights = _anchored(heights, prior.anchors, places)
        varied.append(show_through(image, heights, (1, 2)) if chosen < share else image)
    return torch.stack(varied)


def expected_curve(prior: CurvePrior, device: torch.device) -> Tensor:
    """Return the heights in the middle of what is known; without a known curve from no change."""
    start = torch.linspace(0, 1, FINE_POINTS, device=device)
    heights = start if prior.around is None else _as_fine(prior.around)
    if prior.anchors is None:
        return heights
    middle = torch.full((len(prior.anchors),), 0.5, device=device)
    return _anchored(heights, prior.anchors, middle)


def _as_fine(heights: Tensor) -> Tensor:
    fine = functional.interpolate(
        heights[None, None], size=FINE_POINTS, mode="linear", align_corners=True
    )
    return fine[0, 0]


def _anchored(heights: Tensor, anchors: Tensor, places: Tensor) -> Tensor:
    """Bend a curve to a value in each anchor's range, `places` of the way from low to high."""
    intensities, low, high = anchors.T
    at = torch.cat([intensities.new_zeros(1), intensities])
    values = torch.cat([low.new_zeros(1), low + places * (high - low)])
    points = torch.linspace(0, 1, len(heights), device=heights.device)
    near = torch.exp(-(((points[:, None] - at) / ANCHOR_WIDTH) ** 2))
    total = near.sum(dim=1)
    # Between two anchors each has its share; far from all, the curve is what it was.
    pull = (near @ values) / total.clamp(min=1e-6)
    return torch.lerp(heights, pull, total.clamp(max=1))
