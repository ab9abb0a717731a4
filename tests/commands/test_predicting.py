"""Both ears' results on one grid: what overlaps, what lies outside, and the arg-max."""

import numpy as np

from vsuda_cli.commands.predicting import Found, merge

SHAPE = (12, 8, 6)
GRID = np.eye(4)


def ear(start, size, seed, kept=True, mirrored=False):
    """Return random probabilities of a crop that begins at voxel `start` of the grid."""
    logits = np.random.default_rng(seed).normal(0, 2, (*size, 3))
    maps = (np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, 3] = start
    if mirrored:
        affine[0, 3] += size[0] - 1
        affine[0, 0] = -1
    return Found(maps.argmax(axis=-1).astype(np.uint8), maps if kept else None, affine)


def test_ears_lie_where_they_were_cut_out():
    right, left = ear((7, 1, 1), (4, 5, 4), 0), ear((0, 2, 0), (5, 6, 6), 1, mirrored=True)
    label, maps = merge([right, left], SHAPE, GRID)
    assert np.array_equal(label[7:11, 1:6, 1:5], right.label)
    assert np.array_equal(label[0:5, 2:8], left.label[::-1])
    assert np.array_equal(maps[7:11, 1:6, 1:5], right.probability)
    assert np.array_equal(maps[0:5, 2:8], left.probability[::-1])
    outside = np.ones(SHAPE, dtype=bool)
    outside[7:11, 1:6, 1:5] = outside[0:5, 2:8] = False
    assert (label[outside] == 0).all()
    assert (maps[outside] == (1, 0, 0)).all()


def test_where_crops_overlap_structures_stay_and_labels_are_the_arg_max():
    right, left = ear((4, 0, 0), (8, 8, 6), 2), ear((0, 0, 0), (8, 8, 6), 3)
    label, maps = merge([right, left], SHAPE, GRID)
    assert np.array_equal(maps.argmax(axis=-1), label)
    over = label[4:8]
    first, second = right.label[:4], left.label[4:]
    assert np.array_equal(over, np.where(first > 0, first, second))


def test_without_probabilities_the_labels_are_the_same():
    places = (((4, 0, 0), (8, 8, 6), 2), ((0, 0, 0), (8, 8, 6), 3))
    label, maps = merge([ear(*place, kept=False) for place in places], SHAPE, GRID)
    assert maps is None
    assert np.array_equal(label, merge([ear(*place) for place in places], SHAPE, GRID)[0])


def test_a_crop_that_reaches_over_the_scans_border_is_cut_there():
    reaching = ear((9, -2, -1), (6, 6, 9), 4)
    label, maps = merge([reaching], SHAPE, GRID)
    assert np.array_equal(label[9:, :4], reaching.label[:3, 2:, 1:7])
    assert np.array_equal(maps[9:, :4], reaching.probability[:3, 2:, 1:7])
