"""Crops know where they come from by their affine alone."""

import tracemalloc

import numpy as np
import pytest
from any_grid import rigid_affines
from hypothesis import given, settings
from hypothesis import strategies as st

from vsuda_cli.images.cropping import (
    bounding_box,
    covered_box,
    cut_box,
    mirror,
    place_back,
    region_corners,
    resize_box,
    to_canonical,
    world_points,
)


@st.composite
def grids(draw):
    """Any rigid voxel grid, with its shape."""
    affine = draw(rigid_affines())
    shape = draw(st.tuples(*[st.integers(3, 12)] * 3))
    return shape, affine


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(0, 2**31), st.booleans(), st.data())
def test_round_trip_loses_and_moves_nothing(grid, seed, mirrored, data):
    shape, affine = grid
    label = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    canonical, canonical_affine = to_canonical(label, affine)
    start = [data.draw(st.integers(-3, n - 1)) for n in canonical.shape]
    size = [data.draw(st.integers(1, n + 3)) for n in canonical.shape]
    crop, crop_affine = cut_box(canonical, canonical_affine, start, size)
    if mirrored:
        crop, crop_affine = mirror(crop, crop_affine)
    # A NIfTI file keeps affines as 32 bit floats.
    crop_affine = crop_affine.astype(np.float32).astype(np.float64)
    back = place_back(crop, crop_affine, shape, affine)
    kept = np.zeros(canonical.shape, dtype=bool)
    box = tuple(slice(max(a, 0), max(a + n, 0)) for a, n in zip(start, size, strict=True))
    kept[box] = True
    expected, _ = to_canonical(back, affine)
    assert np.array_equal(expected, np.where(kept, canonical, 0))


@settings(max_examples=30, deadline=None)
@given(grids())
def test_canonical_order_keeps_every_voxel_in_its_place(grid):
    shape, affine = grid
    index = np.arange(np.prod(shape)).reshape(shape)
    canonical, canonical_affine = to_canonical(index, affine)
    for value in (0, index.size // 2, index.size - 1):
        before = world_points(index == value, affine)
        assert np.allclose(before, world_points(canonical == value, canonical_affine), atol=1e-6)
    # Right, anterior, superior: each axis runs mostly along its world axis.
    columns = canonical_affine[:3, :3] / np.linalg.norm(canonical_affine[:3, :3], axis=0)
    assert np.linalg.det(columns) > 0
    assert np.trace(columns) > 0


def test_mirror_twice_is_the_identity_and_places_stay():
    array = np.arange(24).reshape(4, 3, 2)
    affine = np.diag([0.5, 1, 2, 1.0])
    flipped, flipped_affine = mirror(array, affine)
    assert flipped[0, 0, 0] == array[3, 0, 0]
    assert np.linalg.det(flipped_affine[:3, :3]) < 0
    assert np.allclose(world_points(flipped == 5, flipped_affine), world_points(array == 5, affine))
    again, again_affine = mirror(flipped, flipped_affine)
    assert np.array_equal(again, array)
    assert np.allclose(again_affine, affine)


def test_outside_the_field_of_view_is_zero():
    array = np.ones((4, 4, 4), dtype=np.float32)
    crop, affine = cut_box(array, np.eye(4), (-2, 0, 3), (4, 4, 4))
    assert crop.sum() == 2 * 4 * 1
    assert affine[:3, 3].tolist() == [-2, 0, 3]
    outside, _ = cut_box(array, np.eye(4), (9, -9, 0), (2, 2, 2))
    assert outside.sum() == 0


def test_outside_an_image_padded_with_a_negative_value_is_that_value():
    crop, _ = cut_box(np.ones((4, 4, 4), np.float32), np.eye(4), (-2, 0, 3), (4, 4, 4), -1000)
    assert np.unique(crop, return_counts=True)[1].tolist() == [64 - 8, 8]
    assert crop.min() == -1000


def test_bounding_box_holds_the_points_and_no_more():
    affine = np.diag([0.5, 1, 2, 1.0])
    start, size = bounding_box(np.array([[1.0, 2, 4], [3.0, 5, 8]]), affine)
    assert (start, size) == ((2, 2, 2), (5, 4, 3))
    assert resize_box(start, size, (7, 4, 1)) == (1, 2, 3)


def test_corners_of_a_region_are_those_of_its_outermost_voxels_boxes():
    region = np.zeros((5, 6, 7), dtype=np.uint8)
    region[1, 2, 3] = region[2, 2, 5] = 1
    found = region_corners(region, np.diag([0.5, 1, 2, 1.0]))
    assert found.shape == (8, 3)
    assert found.min(axis=0).tolist() == [0.25, 1.5, 5]
    assert found.max(axis=0).tolist() == [1.25, 2.5, 11]
    assert bounding_box(found, np.diag([0.5, 1, 2, 1.0])) == ((1, 2, 3), (2, 1, 3))


def test_place_back_merges_and_keeps_what_is_there():
    first = np.zeros((5, 5, 5), dtype=np.uint8)
    first[0] = 2
    crop = np.ones((2, 5, 5), dtype=np.uint8)
    merged = place_back(crop, np.eye(4), (5, 5, 5), np.eye(4), into=first)
    assert merged[:, 0, 0].tolist() == [2, 1, 0, 0, 0]
    assert first[1].sum() == 0


def test_place_back_of_a_crop_elsewhere_changes_nothing():
    affine = np.eye(4)
    affine[0, 3] = 500
    assert place_back(np.ones((2, 2, 2), np.uint8), affine, (4, 4, 4), np.eye(4)).sum() == 0


def test_place_back_takes_no_memory_where_nothing_is_labelled():
    label = np.zeros((90, 80, 70), dtype=np.uint8)
    label[40:44, 30:36, 66:] = 1
    tracemalloc.start()
    back = place_back(label, np.eye(4), label.shape, np.eye(4))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(back, label)
    assert most < 2 * label.nbytes
    assert not place_back(np.zeros_like(label), np.eye(4), label.shape, np.eye(4)).any()


def test_the_covered_box_holds_all_that_a_crop_changes():
    affine = np.eye(4)
    affine[:3, 3] = (3, -2, 5)
    crop = np.ones((4, 5, 6), np.uint8)
    start, size = covered_box(crop.shape, affine, (12, 12, 9), np.eye(4))
    changed = np.argwhere(place_back(crop, affine, (12, 12, 9), np.eye(4)))
    assert (changed >= start).all()
    assert (changed < np.add(start, size)).all()
    assert max(size) < 11
    affine[0, 3] = 500
    assert covered_box(crop.shape, affine, (12, 12, 9), np.eye(4))[1][0] == 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.6, 0.6, 2.0)])
def test_place_back_from_another_spacing_keeps_the_place(spacing):
    crop = np.zeros((20, 20, 20), dtype=np.uint8)
    crop[6:12, 6:12, 6:12] = 1
    back = place_back(crop, np.diag([*spacing, 1]), (40, 40, 40), np.eye(4))
    before = world_points(crop, np.diag([*spacing, 1])).mean(axis=0)
    assert np.allclose(world_points(back, np.eye(4)).mean(axis=0), before, atol=0.6)
