"""Outlines moved to the edges that an image shows near them.

What a network learnt from images of another contrast is right about where a structure is, and a
pixel or two off about where it ends. The image knows that: a voxel at an outline belongs to the
side that it resembles. After the region model of Chan and Vese (2001) with local means (Lankton and
Tannenbaum 2008), for so few steps that an outline stays near where the network saw it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vsuda_cli.images.geometry import Affine, axis_through_slices

# Outlines move by at most so many pixels; what is too tight comes to rest only after some steps, as
# some of the structure is in the mean outside. The first step goes through slices, too, by one: it
# is as thick as some pixels. The figures are in examples/realheads [ours].
STEPS = 6
# Means inside and outside are Gaussian ones around each voxel, so many pixels and slices wide.
WIDTH = 2.0
WIDTH_THROUGH = 0.8
# They must differ by more than this many standard deviations of the structure to tell sides apart.
LEAST_CONTRAST = 1.0
# And by more than this share of the largest value, which single precision may be off by.
ROUNDING = 1e-4
# Voxels around a structure's box that means are taken from: all of a Gaussian that matters.
MARGIN = 10

Image = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def snap_outlines(labels: Labels, image: Image, affine: Affine) -> Labels:
    """Return a label map (X, Y, Z) whose structures end where the image (X, Y, Z) shows edges.

    `affine` maps voxel indices to RAS mm; slices lie across the axis of the largest spacing.
    Outlines move by at most STEPS pixels and a slice, and never into another label. A background
    voxel beside a structure joins it if it resembles the structure's mean near there more than that
    outside; an outermost voxel that does not leaves it. Nothing moves where the two means are about
    the same.
    """
    through = axis_through_slices(affine)
    snapped = labels.copy()
    for value in np.unique(labels[labels > 0]):
        box = _box_around(snapped == value)
        here = snapped[box]
        moved = _snap(here == value, (here == 0) | (here == value), image[box], through)
        here[here == value] = 0
        here[moved] = value
    return snapped


def _snap(inside: Mask, free: Mask, image: Image, through: int) -> Mask:
    """Move one structure's outline within the `free` voxels; all arrays (X, Y, Z)."""
    # Of a single voxel, or where all are alike, rounding would decide.
    least = max(LEAST_CONTRAST * float(image[inside].std()), ROUNDING * float(np.abs(image).max()))
    sigma = [WIDTH_THROUGH if axis == through else WIDTH for axis in range(3)]
    everything = ndimage.gaussian_filter(image, sigma)
    neighbours = ndimage.generate_binary_structure(3, 1)
    within_slice = np.expand_dims(ndimage.generate_binary_structure(2, 1), through)
    for _ in range(STEPS):
        mean_in, mean_out = _local_means(image, everything, inside, sigma)
        clear = np.abs(mean_in - mean_out) > least
        alike = np.abs(image - mean_in) < np.abs(image - mean_out)
        outer = ndimage.binary_dilation(inside, neighbours) & ~inside & free
        rim = inside & ~ndimage.binary_erosion(inside, neighbours, border_value=1)
        inside = (inside | (outer & alike & clear)) & ~(rim & ~alike & clear)
        neighbours = within_slice
    return inside


def _local_means(
    image: Image, everything: Image, inside: Mask, sigma: list[float]
) -> tuple[Image, Image]:
    """Return the Gaussian means (X, Y, Z) of the image's voxels inside, and of those outside.

    `everything` is that of all voxels.
    """
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(image * inside, sigma)
    least = np.float32(1e-6)
    mean_in = total / np.maximum(weight, least)
    mean_out = (everything - total) / np.maximum(1 - weight, least)
    return mean_in, mean_out


def _box_around(mask: Mask) -> tuple[slice, ...]:
    """Return the box of a mask, not empty, with a margin, inside the volume."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in found)
