"""What is known, without a label there, of how the contrast to be segmented shows a tissue."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.images.contrast import fit_curve
from vsuda_cli.networks.contrast_curve import ContrastCurve, as_fine
from vsuda_cli.training.data import Item, label_of
from vsuda_cli.training.lesions import find_lesions

# How far an anchor reaches along the curve beyond its ends, as the width of a Gaussian.
ANCHOR_WIDTH = 0.06
# A structure's own intensities lie between these quantiles; its darker voxels are mixtures.
ANCHOR_QUANTILES = (0.5, 0.95)


@dataclass(frozen=True)
class CurvePrior:
    """What is known of the curve from one contrast to another.

    around: heights (N,) of a curve that it resembles. anchors: (K, 4) rows of the lowest and
    highest of some intensities, and the lowest and highest value that they may go to.
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
    *,
    drawn: bool,
) -> CurvePrior:
    """Return what is known of the curve from labelled crops to the contrast to be segmented.

    With unlabelled crops of that contrast, the curve between both; with ranges of the intensities
    of labels 1, 2, ..., where the structures' own intensities go. Where structures are `drawn`
    anew, what the curve does to them does not matter, only what it does to the like of them: then
    lesions, which many labelled crops lack, are left out: what is as bright as an enhancing tumour
    is no tumour.
    """
    around = anchors = None
    if unlabelled:
        both = [[item.image[0].cpu().numpy() for item in some] for some in (labelled, unlabelled)]
        around = torch.from_numpy(fit_curve(*both)).float().to(device)
    left_out = find_lesions(labelled, len(ranges)) if drawn else []
    rows = []
    for value, limits in enumerate(ranges, start=1):
        inside = torch.cat([item.image[0][label_of(item) == value] for item in labelled])
        if len(inside) and value not in left_out:
            ends = np.quantile(inside.cpu().numpy(), ANCHOR_QUANTILES)
            rows.append((*ends.tolist(), *limits))
    if rows:
        anchors = torch.tensor(rows, device=device)
    return CurvePrior(around, anchors, distance)


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
    darkest, brightest, low, high = torch.cat([anchors.new_zeros(1, 4), anchors]).T
    values = low + torch.cat([places.new_zeros(1), places]) * (high - low)
    points = torch.linspace(0, 1, len(heights), device=heights.device)[:, None]
    beyond = (darkest - points).clamp(min=0) + (points - brightest).clamp(min=0)
    near = torch.exp(-((beyond / ANCHOR_WIDTH) ** 2))
    total = near.sum(dim=1)
    # Between two anchors each has its share; far from all, the curve is what it was.
    pull = (near @ values) / total.clamp(min=1e-6)
    return torch.lerp(heights, pull, total.clamp(max=1))
