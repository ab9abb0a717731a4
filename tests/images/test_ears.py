"""Structures go to their ear whole, and the most typical case is chosen."""

import numpy as np

from vsuda_cli.images.ears import (
    components,
    cut_points,
    most_typical,
    sample_evenly,
    split_sides,
)

AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])


def label():
    array = np.zeros((30, 6, 6), dtype=np.uint8)
    array[25:27, 2:4, 2:4] = 2
    array[3:5, 2:4, 2:4] = 2
    # A tumour of the right ear that reaches over the middle, at index 15.
    array[13:23, 2:5, 2:5] = 1
    return array


def test_components_are_in_millimetres():
    found = components(label(), AFFINE)
    assert sorted(len(points) for points in found) == [8, 8, 90]
    assert max(points[:, 0].max() for points in found) == 52
    # What touches by a corner hangs together.
    assert len(components(np.eye(3, dtype=np.uint8)[:, :, None], AFFINE)) == 1


def test_a_tumour_over_the_midline_stays_whole():
    right, left = np.array([50.0, 3, 3]), np.array([8.0, 3, 3])
    sides = split_sides(label(), AFFINE, right, left)
    assert len(sides["R"]) == 98
    assert len(sides["L"]) == 8
    empty = split_sides(np.zeros((3, 3, 3), np.uint8), AFFINE, right, left)
    assert empty["R"].shape == empty["L"].shape == (0, 3)


def test_a_structure_goes_to_the_nearer_ear_on_either_side_of_the_origin():
    moved = AFFINE.copy()
    for x, side in ((-20.0, "L"), (-10.0, "R"), (30.0, "R")):
        moved[0, 3] = x
        sides = split_sides(
            np.ones((1, 1, 1), np.uint8), moved, np.array([10.0, 0, 0]), np.array([-40.0, 0, 0])
        )
        assert len(sides[side]) == 1


def test_points_outside_a_crop_are_counted():
    points = np.array([[0.0, 0, 0], [6, 2, 2], [8, 0, 0], [0, -1, 0]])
    assert cut_points(points, (4, 3, 3), AFFINE).tolist() == [False, False, True, True]
    # Voxels reach half their width beyond their centres, up to rounding.
    ends = np.array([[-1.0, 0, 0], [-1.1, 0, 0], [7.0, 0, 0], [7.1, 0, 0]])
    assert cut_points(ends, (4, 3, 3), AFFINE).tolist() == [False, True, False, True]


def test_sample_is_spread_and_bounded():
    assert sample_evenly(3, 6) == [0, 1, 2]
    assert sample_evenly(12, 4) == [0, 4, 7, 11]


def test_most_typical_ignores_itself_and_takes_the_first_of_equals():
    table = np.array([[9, 0.1, 0.2], [0.1, 0, 0.4], [0.2, 0.4, 0]])
    before = table.copy()
    assert most_typical(table) == 2
    assert np.array_equal(table, before)
    assert most_typical(np.ones((3, 3))) == 0
