"""What is known, without a label there, of how the contrast to be segmented shows a tissue."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vsuda_cli.images.contrast import fit_curve
from vsuda_cli.networks.contrast_curve import ContrastCurve, as_fine
from vsuda_cli.training.data import Item

# How far an anchor reaches along the curve, as the width of a Gaussian.
ANCHOR_WIDTH = 0.06


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


def curve_prior(
    labelled: Sequence[Item],
    unlabelled: Sequence[Item],
    ranges: Sequence[tuple[float, float]],
    distance: float,
    device: torch.device,
) -> CurvePrior:
    """Return what is known of the curve from labelled crops to the contrast to be segmented.

    With unlabelled crops of that contrast, the curve between both; with ranges of the intensities
    of labels 1, 2, ..., where the structures' own intensities go.
    """
    around = anchors = None
    if unlabelled:
        both = [[item.image[0].cpu().numpy() for item in some] for some in (labelled, unlabelled)]
        around = torch.from_numpy(fit_curve(*both)).float().to(device)
    if ranges:
        means = structure_means(labelled, len(ranges))
        rows = [
            (mean, *limits) for mean, limits in zip(means, ranges, strict=True) if mean is not None
        ]
        anchors = torch.tensor(rows, device=device) if rows else None
    return CurvePrior(around, anchors, distance)


def structure_means(items: Sequence[Item], count: int) -> list[float | None]:
    """Return the mean intensity of labels 1 to `count` over all items, None where none has it."""
    means: list[float | None] = []
    for value in range(1, count + 1):
        sums = voxels = 0.0
        for item in items:
            if item.label is not None:
                inside = item.label == value
                sums += float(item.image[0][inside].sum())
                voxels += int(inside.sum())
        means.append(sums / voxels if voxels else None)
    return means


def expected_contrast(
    prior: CurvePrior, ranges: Sequence[tuple[float, float]], device: torch.device
) -> ContrastCurve:
    """Return the translation in the middle of what is known; without a curve from no change."""
    translation = ContrastCurve(len(ranges)).to(device)
    heights = translation.heights if prior.around is None else as_fine(prior.around)
    if prior.anchors is not None:
        middle = torch.full((len(prior.anchors),), 0.5, device=device)
        heights = anchored(heights, prior.anchors, middle)
    translation.heights.copy_(heights)
    for index, (low, high) in enumerate(ranges):
        translation.levels[index] = (low + high) / 2
    return translation


def anchored(heights: Tensor, anchors: Tensor, places: Tensor) -> Tensor:
    """Bend a curve to a value in each anchor's range, `places` of the way from low to high.

    What gave no signal stays dark.
    """
    intensities, low, high = anchors.T
    at = torch.cat([intensities.new_zeros(1), intensities])
    values = torch.cat([low.new_zeros(1), low + places * (high - low)])
    points = torch.linspace(0, 1, len(heights), device=heights.device)
    near = torch.exp(-(((points[:, None] - at) / ANCHOR_WIDTH) ** 2))
    total = near.sum(dim=1)
    # Between two anchors each has its share; far from all, the curve is what it was.
    pull = (near @ values) / total.clamp(min=1e-6)
    return torch.lerp(heights, pull, total.clamp(max=1))
