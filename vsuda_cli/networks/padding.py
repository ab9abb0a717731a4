"""Padding of (batch, channel, x, y[, z]) tensors that works for thin slabs too."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

# Voxels added (before, after) along each spatial axis, x first.
Margins = tuple[tuple[int, int], ...]


def margins_to_multiple(shape: Sequence[int], multiples: Sequence[int]) -> Margins:
    """Return what brings a spatial `shape` to the next multiples, split evenly."""
    margins = []
    for size, multiple in zip(shape, multiples, strict=True):
        extra = -size % multiple
        margins.append((extra // 2, extra - extra // 2))
    return tuple(margins)


def pad_constant(x: Tensor, margins: Margins) -> Tensor:
    """Return `x` with zeros around it."""
    return functional.pad(x, _last_axis_first(margins)) if _any(margins) else x


def pad_replicate(x: Tensor, margins: Margins) -> Tensor:
    """Return `x` with its border voxels repeated around it; any width."""
    return functional.pad(x, _last_axis_first(margins), mode="replicate") if _any(margins) else x


def pad_reflect(x: Tensor, margins: Margins) -> Tensor:
    """Return `x` mirrored at its borders.

    An axis with no more voxels than the margin has nothing to mirror (a slab of one slice, say);
    its border voxels are repeated instead.
    """
    sizes = x.shape[2:]
    thin = [max(margin) >= size for size, margin in zip(sizes, margins, strict=True)]
    if any(thin):
        x = pad_replicate(x, tuple(m if t else (0, 0) for m, t in zip(margins, thin, strict=True)))
        margins = tuple((0, 0) if t else m for m, t in zip(margins, thin, strict=True))
    return functional.pad(x, _last_axis_first(margins), mode="reflect") if _any(margins) else x


def crop(x: Tensor, margins: Margins) -> Tensor:
    """Return `x` without the margins that were added to it."""
    for axis, (before, after) in enumerate(margins, start=2):
        if before or after:
            x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


def _any(margins: Margins) -> bool:
    return any(before or after for before, after in margins)


def _last_axis_first(margins: Margins) -> list[int]:
    return [width for margin in reversed(margins) for width in margin]
