"""Many transforms, some of them far off, agree on the one that most of them are near."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vsuda_cli.images.consensus import consensus
from vsuda_cli.images.geometry import corners, transform

BOX = corners(np.array([-20.0, -30, -10]), np.array([25.0, 10, 20]))


def near(truth, random, degrees, mm):
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_rotvec(random.normal(0, degrees, 3), degrees=True).as_matrix()
    turned[:3, 3] = random.normal(0, mm, 3)
    return turned @ truth


@given(st.integers(0, 10_000))
def test_a_third_far_off_moves_nothing_far(seed):
    random = np.random.default_rng(seed)
    truth = np.eye(4)
    truth[:3] += random.normal(0, 0.1, (3, 4))
    good = [near(truth, random, 0.5, 0.5) for _ in range(10)]
    bad = [near(truth, random, 10, 50) for _ in range(5)]
    found, spread = consensus(good + bad, BOX)
    error = np.linalg.norm(transform(found, BOX) - transform(truth, BOX), axis=1)
    assert error.max() < 2.5
    assert 0 < spread < 5


def test_equal_transforms_are_what_they_agree_on():
    one = np.diag([1.1, 0.9, 1.0, 1.0])
    one[:3, 3] = (3, -4, 5)
    found, spread = consensus([one] * 3, BOX)
    assert found == pytest.approx(one, abs=1e-9)
    assert spread == pytest.approx(0, abs=1e-9)


def test_what_disagrees_lies_apart():
    ways = [near(np.eye(4), np.random.default_rng(n), 5, 40) for n in range(9)]
    assert consensus(ways, BOX)[1] > 12
