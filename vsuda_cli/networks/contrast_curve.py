"""The smallest translation there is: one curve for all intensities, and structures drawn anew."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Points that a curve is stored and drawn on.
FINE_POINTS = 41


def apply_curve(image: Tensor, heights: Tensor) -> Tensor:
    """Send intensities in [0, 1] through the piecewise linear curve of equidistant heights (N,)."""
    place = image.clamp(0, 1) * (len(heights) - 1)
    below = place.floor().clamp(max=len(heights) - 2).long()
    return torch.lerp(heights[below], heights[below + 1], place - below)


def as_fine(heights: Tensor) -> Tensor:
    """Return the same curve on 41 points."""
    return functional.interpolate(
        heights[None, None], size=FINE_POINTS, mode="linear", align_corners=True
    )[0, 0]


def smooth_in_plane(image: Tensor, axes: tuple[int, int], passes: int = 2) -> Tensor:
    """Blur along two axes with the binomial kernel (1, 2, 1) / 4, `passes` times.

    Two passes are (1, 4, 6, 4, 1) / 16, one voxel wide. Where a curve is steep it turns noise into
    texture: what goes through one is smoothed before.
    """
    for axis in axes * passes:
        count = image.shape[axis]
        ends = (image.narrow(axis, 0, 1), image, image.narrow(axis, count - 1, 1))
        padded = torch.cat(ends, dim=axis)
        image = (padded.narrow(axis, 0, count) + 2 * image + padded.narrow(axis, 2, count)) / 4
    return image


def show_through(image: Tensor, heights: Tensor, axes: tuple[int, int]) -> Tensor:
    """Return an image, smoothed along its two in-plane axes, as a curve of heights shows it."""
    return apply_curve(smooth_in_plane(image, axes), heights)


def hide_structures(images: Tensor, labels: Tensor) -> Tensor:
    """Return images (B, 1, X, Y, Z) whose structures' edges show what lies around them.

    labels: (B, X, Y, Z). A structure's edge is a mixture that a curve would turn into a rim of
    another tissue, and the rim would give the structure away. Deeper inside than the smoothing
    before a curve reaches, all stays.
    """
    labelled = (labels > 0)[:, None].to(images.dtype)
    known = 1 - _grown_in_plane(labelled)
    # Each time two voxels further inwards.
    for _ in range(2):
        weight = smooth_in_plane(known, (2, 3))
        around = smooth_in_plane(images * known, (2, 3)) / weight.clamp(min=1e-6)
        images = torch.where((known == 0) & (weight > 0), around, images)
        known = (weight > 0).to(images.dtype)
    return images


def draw_structure(
    image: Tensor, original: Tensor, inside: Tensor, mean: Tensor, texture: Tensor
) -> Tensor:
    """Return an image (1, X, Y, Z) with a structure of that mean intensity and soft edges.

    `inside` (1, X, Y, Z) is its mask; its texture, in `original`, is taken times `texture`. At the
    edge, a mixture, the texture of the core goes on.
    """
    mask = inside.to(image.dtype)
    core = 1 - _grown_in_plane(1 - mask)
    weight = smooth_in_plane(core, (1, 2))
    smooth = smooth_in_plane(original * core, (1, 2)) / weight.clamp(min=1e-6)
    average = (original * core).sum() / core.sum().clamp(min=1)
    own = torch.where(weight > 0, smooth - average, 0)
    return torch.lerp(image, mean + texture * own, smooth_in_plane(mask, (1, 2), passes=1))


def _grown_in_plane(mask: Tensor) -> Tensor:
    return functional.max_pool3d(mask, (3, 3, 1), stride=1, padding=(1, 1, 0))


class ContrastCurve(nn.Module):
    """A generator that maps smoothed intensities, whatever tissue lies around them."""

    # Slices or volumes alike; as a network of volumes it sees them whole.
    dims = 3

    def __init__(self, structures: int = 0) -> None:
        super().__init__()
        self.heights: Tensor
        self.register_buffer("heights", torch.linspace(0, 1, FINE_POINTS))
        # Mean intensities of labels 1, 2, ... where they are drawn and not left to the curve.
        self.levels: Tensor
        self.register_buffer("levels", torch.zeros(structures))

    def forward(self, image: Tensor) -> Tensor:
        """Return an image (B, 1, X, Y[, Z]) of the same shape, intensities in [0, 1]."""
        return show_through(image, self.heights, (2, 3))

    def drawn(self, image: Tensor, label: Tensor) -> Tensor:
        """Return an image (1, 1, X, Y, Z) through the curve, its structures at their levels.

        label: (X, Y, Z). They keep their own texture. Those without a level go through the curve.
        """
        redrawn = torch.where(label <= len(self.levels), label, 0)
        shown: Tensor = self(hide_structures(image, redrawn[None]))[0]
        texture = torch.ones((), device=image.device)
        for structure, level in enumerate(self.levels, start=1):
            inside = (label == structure)[None]
            shown = draw_structure(shown, image[0], inside, level, texture)
        return shown[None].clamp(0, 1)
