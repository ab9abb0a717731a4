"""Outlines moved to the edges that an image shows near them.

What a network learnt from images of another contrast is right about where a structure is, and a
pixel or two off about where it ends. The image knows that: a voxel at an outline belongs to the
side that it resembles. After the region model of Chan and Vese (2001) with local means (Lankton and
Tannenbaum 2008), for so few steps that an outline stays near where the network saw it.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vsuda_cli.images.geometry import Affine, axis_through_slices, pixel_mm

# Outlines move by at most so many pixels, and through slices as far in mm. What is too tight comes
# to rest only after some steps, as some of the structure is in the mean outside; see the figures in
# examples/realheads [ours].
STEPS = 6
# Means inside and outside are Gaussian ones around each voxel, of this width in pixels, all around.
WIDTH = 2.0
# They must differ by more than this many standard deviations of the structure to tell sides apart.
LEAST_CONTRAST = 1.0
# And by more than this share of the largest value, which single precision may be off by.
ROUNDING = 1e-4
# Of a slice as thick as a whole number of pixels, a header's rounding is no further pixel.
SAME_THICKNESS = 1e-3
# Voxels around a structure's box that means are taken from: all of a Gaussian that matters.
MARGIN = 10

Image = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def snap_outlines(labels: Labels, image: Image, affine: Affine) -> Labels:
    """Return a label map (X, Y, Z) whose structures end where the image (X, Y, Z) shows edges.

    `affine` maps voxel indices to RAS mm. Outlines move by at most STEPS pixels within slices, by a
    slice in as many steps as it is pixels thick, and never into another label. A background voxel
    beside a structure joins it if it resembles the structure's mean near there more than that
    outside; an outermost voxel that does not leaves it. Nothing moves where the two means are about
    the same.
    """
    snapped = labels.copy()
    for value in np.unique(labels[labels > 0]):
        box = _box_around(snapped == value)
        here = snapped[box]
        moved = _snap(here == value, (here == 0) | (here == value), image[box], affine)
        here[here == value] = 0
        here[moved] = value
    return snapped


def _snap(inside: Mask, free: Mask, image: Image, affine: Affine) -> Mask:
    """Move one structure's outline within the `free` voxels; all arrays (X, Y, Z)."""
    # Of a single voxel, or where all are alike, rounding would decide.
    least = max(LEAST_CONTRAST * float(image[inside].std()), ROUNDING * float(np.abs(image).max()))
    pixels_thick = np.linalg.norm(affine[:3, :3], axis=0) / pixel_mm(affine)
    sigma = (WIDTH / pixels_thick).tolist()
    through = axis_through_slices(affine)
    all_around = ndimage.generate_binary_structure(3, 1)
    within_slice = np.expand_dims(ndimage.generate_binary_structure(2, 1), through)
    steps_a_slice = math.ceil(pixels_thick[through] - SAME_THICKNESS)
    everything = ndimage.gaussian_filter(image, sigma)
    for number in range(STEPS):
        neighbours = within_slice if number % steps_a_slice else all_around
        mean_in, mean_out = _local_means(image, everything, inside, sigma)
        clear = np.abs(mean_in - mean_out) > least
        alike = np.abs(image - mean_in) < np.abs(image - mean_out)
        outer = ndimage.binary_dilation(inside, neighbours) & ~inside & free
        rim = inside & ~ndimage.binary_erosion(inside, neighbours, border_value=1)
        inside = (inside | (outer & alike & clear)) & ~(rim & ~alike & clear)
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
