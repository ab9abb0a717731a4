"""Rough places are found from afar, and stay within what heads can do."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from synthetic_head import RIGHT_MM, head

from vsuda_cli.images.coarse_search import (
    MOST_UPRIGHT,
    TILTED,
    UPRIGHT,
    distance_mm,
    improve,
    rank_starts,
)
from vsuda_cli.images.geometry import transform, translation
from vsuda_cli.images.similarity import make_level, similarity


@pytest.fixture(scope="module")
def atlas():
    image, _, affine = head("T1")
    return coarse(image, affine)


def coarse(image, affine):
    return make_level(image, affine, 6.0)


def test_improving_brings_the_ear_near(atlas):
    image, _, affine = head("T2", translation(np.array([6.0, -8, 5])), seed=1)
    scan = coarse(image, affine)
    found, value = improve(scan, atlas, np.eye(4))
    assert value > similarity(scan, atlas, np.eye(4))
    place = transform(found, RIGHT_MM[None] + [6, -8, 5])
    assert np.linalg.norm(place - RIGHT_MM) < 7


def test_starts_are_few_apart_and_ranked(atlas):
    starts = rank_starts(atlas, atlas, UPRIGHT, MOST_UPRIGHT)
    values = [similarity(atlas, atlas, start) for start in starts]
    assert values == sorted(values, reverse=True)
    assert 1 <= len(starts) <= MOST_UPRIGHT
    assert np.array_equal(rank_starts(atlas, atlas, UPRIGHT, 1), starts[:1])
    for i, one in enumerate(starts):
        assert all(distance_mm(atlas, one, other) > 10 for other in starts[:i])


def test_size_stays_that_of_a_head(atlas):
    image, _, affine = head("T2")
    grown = affine.copy()
    grown[:3, :3] *= 3
    found, _ = improve(coarse(image, grown), atlas, np.eye(4))
    assert 0.8 < np.cbrt(np.linalg.det(found[:3, :3])) < 1.25


@pytest.mark.parametrize("group", TILTED)
def test_starts_are_tilted_as_told(atlas, group):
    starts = rank_starts(atlas, atlas, group, 3)
    assert 1 <= len(starts) <= 3
    for start in starts:
        tilt = Rotation.from_matrix(start[:3, :3]).as_euler("xzy", degrees=True)
        assert any(tilt == pytest.approx(wanted) for wanted in group)
