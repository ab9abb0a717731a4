"""A coarse made-up head with two ears, for tests of registration: no two of its sides are alike."""

import numpy as np
from scipy import ndimage

SPACING_MM = (2.0, 2.0, 2.5)
SHAPE = (84, 100, 40)
# Middle of the right cochlea, and of the left one, in mm.
RIGHT_MM = np.array([34.0, -6.0, -8.0])
LEFT_MM = np.array([-34.0, -6.0, -8.0])
TUMOUR_MM = np.array([22.0, -8.0, -8.0])


def head(contrast="T1", move=None, shape=SHAPE, seed=0):
    """Return image (float32), label (uint8) and RAS affine of a head; `move` (4x4) shifts it."""
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    where = index @ affine[:3, :3].T + affine[:3, 3]
    if move is not None:
        back = np.linalg.inv(move)
        where = where @ back[:3, :3].T + back[:3, 3]
    fat, grey, white, fluid, bone = (1.0, 0.5, 0.7, 0.15, 0.05)
    if contrast == "T2":
        fat, grey, white, fluid, bone = (0.5, 0.55, 0.35, 1.0, 0.08)
    image = np.zeros(shape, dtype=np.float32)
    image[ball(where, (0, 0, 5), (74, 92, 80))] = fat
    image[ball(where, (0, 0, 5), (69, 87, 75))] = bone
    image[ball(where, (0, 0, 8), (64, 82, 68))] = grey
    image[ball(where, (3, 8, 16), (44, 60, 40))] = white
    image[ball(where, (8, 12, 14), (7, 22, 12))] = fluid
    image[ball(where, (-9, 16, 15), (6, 26, 9))] = fluid
    image[ball(where, (0, -52, -20), (44, 26, 22))] = white
    image[ball(where, (0, -14, -22), (14, 12, 34))] = white
    image[ball(where, (0, -34, -18), (8, 5, 8))] = fluid
    image[ball(where, (30, 62, -8), (14, 12, 12))] = fat
    image[ball(where, (-30, 64, -10), (13, 11, 12))] = fat
    label = np.zeros(shape, dtype=np.uint8)
    for centre in (RIGHT_MM, LEFT_MM):
        image[ball(where, centre + np.array((np.sign(centre[0]) * 10, -2, -2)), (22, 14, 12))] = (
            bone
        )
        image[ball(where, centre, (4.5, 4.5, 4.5))] = fluid
        label[ball(where, centre, (4.5, 4.5, 4.5))] = 2
    image[ball(where, TUMOUR_MM, (7, 6, 6))] = (fat + grey) / 2
    label[ball(where, TUMOUR_MM, (7, 6, 6)) & (label == 0)] = 1
    noise = np.random.default_rng(seed).normal(0, 0.02, shape)
    smooth = ndimage.gaussian_filter(image, 0.5) + noise
    return np.maximum(smooth, 0.001).astype(np.float32) * 800, label, affine


def ball(where, centre, radii):
    """Return the mask of an ellipsoid; all in mm."""
    return (((where - np.asarray(centre)) / np.asarray(radii)) ** 2).sum(axis=-1) < 1
