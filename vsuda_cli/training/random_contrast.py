"""Random contrasts of labelled images, after SynthSeg (Billot et al. 2023), around what is known.

SynthSeg draws every image anew from a label map of the whole head. Here structures are drawn anew
where there are labels, and all else goes through random curves.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vsuda_cli.networks.contrast_curve import (
    as_fine,
    draw_structure,
    hide_structures,
    show_through,
)
from vsuda_cli.training.contrast_prior import CurvePrior, anchored

# Random heights of a curve.
RANDOM_POINTS = 6
# A structure's own texture is drawn at up to this strength, or inverted: what enhances least in one
# contrast may be the brightest, fluid-filled part in another.
TEXTURE = 2.0


def random_contrast(
    images: Tensor,
    labels: Tensor,
    *,
    curve_share: float,
    structure_share: float,
    ranges: Sequence[tuple[float, float]],
    prior: CurvePrior,
    generator: torch.Generator,
) -> Tensor:
    """Return images (B, 1, X, Y, Z) in [0, 1] as other contrasts might show them.

    labels: (B, X, Y, Z). A `curve_share` of the images goes through random curves; in a
    `structure_share` the structures are drawn anew, with intensities within the `ranges` of labels
    1, 2, ... Chances are independent.
    """
    if structure_share == 0:
        return random_curve(images, curve_share, prior, generator)
    drawn = torch.rand(len(images), generator=generator, device=images.device) < structure_share
    there = drawn.view(-1, 1, 1, 1, 1)
    shown = torch.where(there, hide_structures(images, labels), images)
    if curve_share > 0:
        shown = random_curve(shown, curve_share, prior, generator)
    anew = draw_structures(shown, images, labels, ranges, generator)
    return torch.where(there, anew, shown)


def draw_structures(
    images: Tensor,
    originals: Tensor,
    labels: Tensor,
    ranges: Sequence[tuple[float, float]],
    generator: torch.Generator,
) -> Tensor:
    """Give labelled structures a random mean intensity, each within its range, and texture.

    images, originals: (B, 1, X, Y, Z) in [0, 1]; labels: (B, X, Y, Z). The texture is that in the
    originals, at a random strength.
    """
    varied = []
    for image, original, label in zip(images, originals, labels, strict=True):
        # Drawn even where there is no structure, so that one image's labels do not move the next
        # draws.
        places, strengths = torch.rand((2, len(ranges)), generator=generator, device=images.device)
        for structure, (low, high) in enumerate(ranges, start=1):
            mean = low + (high - low) * places[structure - 1]
            texture = TEXTURE * (2 * strengths[structure - 1] - 1)
            # Not in place: where images come from a generator, gradients flow through them.
            image = draw_structure(image, original, (label == structure)[None], mean, texture)
        varied.append(image)
    return torch.stack(varied).clamp(0, 1)


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
        coarse = torch.rand(RANDOM_POINTS, generator=generator, device=device)
        heights = as_fine(coarse)
        if prior.around is not None:
            heights = torch.lerp(as_fine(prior.around), heights, prior.distance * distance)
        if prior.anchors is not None:
            places = torch.rand(len(prior.anchors), generator=generator, device=device)
            heights = anchored(heights, prior.anchors, places)
        # Both are calculated: to look at the number would make a GPU wait.
        varied.append(torch.where(chosen < share, show_through(image, heights, (1, 2)), image))
    return torch.stack(varied)
