"""ANTs gets the very geometry that was read, and gives a transform in it."""

import numpy as np
from scipy.spatial.transform import Rotation
from synthetic_head import head

from vsuda_cli.images.affine_search import refine
from vsuda_cli.images.geometry import inverse, translation
from vsuda_cli.images.similarity import make_level


def level(contrast, move, world=None, seed=0):
    image, _, affine = head(contrast, move, seed=seed)
    return make_level(image, affine if world is None else world @ affine, 5.0)


def test_a_known_move_is_found_in_any_world():
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("z", 6, degrees=True).as_matrix() * 1.05
    move[:3, 3] = (4, -3, 2)
    # The scan's grid turned and shifted in the world, as scanners do.
    world = translation(np.array([80.0, -30, 200]))
    world[:3, :3] = Rotation.from_euler("xyz", (20, -10, 15), degrees=True).as_matrix()
    fixed, moving = level("T2", move, world, 1), level("T1", np.eye(4))
    start = inverse(world)
    found = refine(fixed, moving, start, (60, 20))
    expected = inverse(world @ move)
    middle = np.append(fixed.centre_mm, 1)
    assert np.linalg.norm((found - expected) @ middle) < 2.5
    assert np.abs(found[:3, :3] - expected[:3, :3]).max() < 0.05
    again = refine(fixed, moving, start, (60, 20))
    assert np.array_equal(found, again)
