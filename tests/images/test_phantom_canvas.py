"""Solids land where the affine says, and painting stops at the grid's edge."""

import numpy as np

from vsuda_cli.images import phantom_canvas
from vsuda_cli.images.phantom_canvas import Canvas


def canvas(shape=(40, 30, 20), spacing=(1.0, 1.0, 2.0)):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Canvas(np.zeros(shape, dtype=np.uint8), affine), affine


def world(mask, affine):
    return np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]


def test_a_box_holds_what_is_within_reach_and_ends_with_the_grid():
    board, _ = canvas()
    low, high = board.box((-1, 0.5, 1), (3, 2, 4))
    assert (low.tolist(), high.tolist()) == ([15, 13, 8], [23, 18, 13])
    low, high = board.box((-20, 0, 0), (3, 100, 1))
    assert (low[0], low[1], high[1]) == (0, 0, 30)
    low, high = board.box((60, 0, 0), (3, 3, 3))
    assert low[0] >= high[0]


def test_an_ellipsoid_has_its_place_and_volume():
    board, affine = canvas()
    board.ellipsoid((3, -2, 4), (9, 6, 8), 5)
    where = world(board.tissue == 5, affine)
    assert np.allclose(where.mean(axis=0), (3, -2, 4), atol=0.3)
    assert abs(len(where) * 2 / (4 / 3 * np.pi * 9 * 6 * 8) - 1) < 0.03
    assert set(np.unique(board.tissue)) == {0, 5}


def test_a_tilted_and_mirrored_grid_shows_the_same_solid():
    angle = np.radians(20)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag((-1.0, 1.0, 1.5))
    affine[:3, 3] = -affine[:3, :3] @ (19.5, 19.5, 14.5)
    board = Canvas(np.zeros((40, 40, 30), dtype=np.uint8), affine)
    board.ellipsoid((5, 3, -4), (8, 5, 6), 1)
    where = world(board.tissue == 1, affine)
    assert np.allclose(where.mean(axis=0), (5, 3, -4), atol=0.3)
    assert np.all(np.abs(where - (5, 3, -4)).max(axis=0) <= (8, 5, 6))


def test_a_tube_is_a_cone_with_round_ends():
    board, affine = canvas()
    board.tube(np.array([(-10.0, 0, 0), (10.0, 0, 0)]), np.array((2.0, 6.0)), 1)
    where = world(board.tissue == 1, affine)
    distance = np.linalg.norm(where[:, 1:], axis=1)
    assert distance[np.abs(where[:, 0] + 9) < 1].max() < 3
    assert distance[np.abs(where[:, 0] - 9) < 1].max() > 5
    assert -12 <= where[:, 0].min() < -10.5
    assert 14.5 < where[:, 0].max() <= 16


def test_what_reaches_over_the_edge_is_cut_and_what_lies_outside_is_nothing():
    board, affine = canvas()
    board.ellipsoid((500, 0, 0), (5, 5, 5), 1)
    assert not board.tissue.any()
    board.ellipsoid((19, 0, 0), (5, 5, 5), 1)
    assert world(board.tissue == 1, affine)[:, 0].min() > 14
    assert board.tissue[-1].any()


def test_planes_at_once_do_not_matter(monkeypatch):
    one, _ = canvas()
    one.ellipsoid((1, 2, 3), (11, 9, 7), 1)
    monkeypatch.setattr(phantom_canvas, "PLANES", 1000)
    other, _ = canvas()
    other.ellipsoid((1, 2, 3), (11, 9, 7), 1)
    assert one.tissue.any()
    assert np.array_equal(one.tissue, other.tissue)
