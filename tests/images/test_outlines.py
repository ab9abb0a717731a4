"""Outlines move to edges, a little, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vsuda_cli.images.outlines import STEPS, snap_outlines

AFFINE = np.diag([0.6, 0.6, 1.5, 1.0])
SHAPE = (40, 44, 12)
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])


def column(radius_mm, centre=(12.0, 13.0)):
    x, y, z = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    round_in_plane = np.hypot(x * 0.6 - centre[0], y * 0.6 - centre[1]) < radius_mm
    return round_in_plane & (z >= 3) & (z < 9)


def image_of(mask, inside=0.4, outside=0.1, noise=0.02, seed=0):
    shown = np.where(mask, inside, outside)
    soft = ndimage.gaussian_filter(shown, (0.6, 0.6, 0))
    return (soft + np.random.default_rng(seed).normal(0, noise, SHAPE)).astype(np.float32)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("outside", [0.1, 0.9])
@pytest.mark.parametrize("change", [ndimage.binary_erosion, ndimage.binary_dilation])
def test_too_tight_and_too_wide_outlines_come_to_the_edge(change, outside):
    truth = column(5)
    found = change(truth, IN_PLANE).astype(np.uint8)
    assert dice(found == 1, truth) < 0.9
    assert dice(snap_outlines(found, image_of(truth, outside=outside), AFFINE) == 1, truth) > 0.99


def test_a_few_pixels_are_as_far_as_it_goes():
    truth = column(10)
    near, far = (
        ndimage.binary_erosion(truth, IN_PLANE, iterations=n) for n in (STEPS - 2, STEPS + 4)
    )
    image = image_of(truth)
    assert dice(snap_outlines(near.astype(np.uint8), image, AFFINE) == 1, truth) > 0.98
    assert dice(snap_outlines(far.astype(np.uint8), image, AFFINE) == 1, truth) < 0.85


def test_without_an_edge_nothing_moves_far():
    truth = column(5)
    found = ndimage.binary_erosion(truth, IN_PLANE, iterations=2)
    image = image_of(truth, outside=0.4)
    snapped = snap_outlines(found.astype(np.uint8), image, AFFINE) == 1
    assert np.count_nonzero(snapped != found) < 0.02 * found.sum()


def test_a_label_never_enters_another():
    truth = column(5)
    labels = np.where(ndimage.binary_erosion(truth, IN_PLANE), 1, 0).astype(np.uint8)
    labels[25:28, 15:30] = 2
    before = labels == 2
    snapped = snap_outlines(labels, image_of(truth), AFFINE)
    assert (snapped[before & truth & (labels == 2)] == 2).all()
    assert (snapped == 1).sum() > (labels == 1).sum()


def test_a_slice_that_was_missed_at_each_end_is_found_and_no_more():
    truth = column(5)
    image = image_of(truth)
    found = truth & np.isin(np.arange(SHAPE[2]), [4, 5, 6, 7])
    assert dice(found, truth) < 0.9
    assert dice(snap_outlines(found.astype(np.uint8), image, AFFINE) == 1, truth) > 0.99
    tighter = truth & np.isin(np.arange(SHAPE[2]), [5, 6])
    snapped = snap_outlines(tighter.astype(np.uint8), image, AFFINE) == 1
    assert snapped[:, :, 4].any() and snapped[:, :, 7].any()
    assert not snapped[:, :, [3, 8]].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2), st.integers(0, 1000))
def test_outlines_move_a_few_pixels_and_one_slice_at_most(through, seed):
    random = np.random.default_rng(seed)
    labels = (ndimage.gaussian_filter(random.normal(size=SHAPE), 2) > 0.05).astype(np.uint8)
    image = random.random(SHAPE).astype(np.float32)
    spacing = np.full(3, 0.5)
    spacing[through] = 2.0
    snapped = snap_outlines(labels, image, np.diag([*spacing, 1.0])) == 1
    cross = ndimage.generate_binary_structure(3, 1)
    middle = np.moveaxis(np.array([False, True, False])[:, None, None], 0, through)
    line = np.moveaxis(np.array([True, True, True])[:, None, None], 0, through)
    inside = labels == 1
    farthest, deep = inside, inside
    for near, times in ((cross & middle, STEPS), (line, 1)):
        farthest = ndimage.binary_dilation(farthest, near, iterations=times)
        deep = ndimage.binary_erosion(deep, near, iterations=times, border_value=1)
    assert not (snapped & ~farthest).any()
    assert snapped[deep].all()


def test_an_empty_map_stays_empty():
    empty = np.zeros(SHAPE, dtype=np.uint8)
    assert not snap_outlines(empty, image_of(column(5)), AFFINE).any()


@pytest.mark.parametrize("value", [0.0, 5.0, 100.1])
def test_where_an_image_is_constant_nothing_moves(value):
    labels = np.zeros((30, 30, 6), np.uint8)
    labels[8:14, 8:14, 3], labels[22, 22, 3] = 1, 2
    image = np.full(labels.shape, value, np.float32)
    assert np.array_equal(snap_outlines(labels, image, np.diag((0.5, 0.5, 1.5, 1))), labels)
