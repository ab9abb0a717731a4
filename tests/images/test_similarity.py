"""The measure is high where heads coincide, across contrasts, and low for noise."""

import numpy as np
import pytest
from synthetic_head import head

from vsuda_cli.images.geometry import translation
from vsuda_cli.images.similarity import DARKEST, Level, make_level, similarity


@pytest.fixture(scope="module")
def levels():
    return {
        kind: make_level(*(part for i, part in enumerate(head(kind)) if i != 1), 6.0)
        for kind in ("T1", "T2")
    }


def test_a_volume_is_identical_with_itself(levels):
    assert similarity(levels["T1"], levels["T1"], np.eye(4)) == pytest.approx(1, abs=1e-6)


def test_across_contrasts_the_true_place_is_best(levels):
    here = similarity(levels["T2"], levels["T1"], np.eye(4))
    for shift in np.vstack([np.eye(3), -np.eye(3)]) * 12:
        assert similarity(levels["T2"], levels["T1"], translation(shift)) < here


def test_noise_and_no_overlap(levels):
    noise = np.random.default_rng(0).random(levels["T1"].array.shape, dtype=np.float32)
    assert similarity(Level(noise, levels["T1"].affine), levels["T1"], np.eye(4)) < 0.03
    assert similarity(levels["T1"], levels["T1"], translation(np.array([900.0, 0, 0]))) == 0
    constant = Level(np.zeros_like(noise), levels["T1"].affine)
    assert similarity(constant, constant, np.eye(4)) == 0


def test_a_small_overlap_does_not_pay(levels):
    near, far = (translation(np.array([0, 0, z])) for z in (0.0, 40.0))
    slab = Level(levels["T1"].array[:, :, :8], levels["T1"].affine)
    assert similarity(slab, slab, far) < 0.5 * similarity(slab, slab, near)


def test_voxels_without_a_signal_say_nothing(levels):
    whole = levels["T1"]
    x, y, z = np.ogrid[tuple(slice(-1, 1, complex(n)) for n in whole.array.shape)]
    inner = Level(np.where(x**2 + y**2 + z**2 < 0.3, whole.array, 0), whole.affine)
    assert inner.signal_mm3 < 0.5 * whole.signal_mm3
    in_place = similarity(inner, whole, np.eye(4))
    assert in_place == pytest.approx(1, abs=1e-6)
    assert similarity(whole, inner, np.eye(4)) == pytest.approx(in_place)
    larger = np.diag([1.3, 1.3, 1.3, 1.0])
    larger[:3, 3] = -0.3 * whole.centre_mm
    assert similarity(inner, whole, larger) < in_place / 2
    padded = np.pad(levels["T2"].array, 3)
    around = Level(padded, levels["T2"].affine @ translation(np.full(3, -3.0)))
    assert similarity(around, whole, np.eye(4)) == pytest.approx(
        similarity(levels["T2"], whole, np.eye(4))
    )


def test_levels_tell_no_signal_from_the_darkest_tissue():
    array = np.zeros((12, 12, 12), dtype=np.float32)
    array[3:9] = np.random.default_rng(1).integers(1, 99, (6, 12, 12))
    level = make_level(array, np.eye(4), 1.0)
    assert np.array_equal(level.array > 0, array > 0)
    assert level.signal_mm3 == 6 * 12 * 12


def test_levels_keep_coarse_axes_and_centres():
    array = np.random.default_rng(1).random((20, 20, 4), dtype=np.float32)
    level = make_level(array, np.diag([1.0, 1.0, 9.0, 1.0]), 4.0)
    assert np.allclose(np.linalg.norm(level.affine[:3, :3], axis=0), (4, 4, 9))
    assert level.array.min() == pytest.approx(DARKEST)
    assert level.array.max() == 1
    assert np.allclose(level.centre_mm, (9.5, 9.5, 13.5))
    assert level.volume_mm3 == pytest.approx(5 * 5 * 4 * 4 * 4 * 9)
    spot = np.zeros((5, 5, 5), dtype=np.float32)
    spot[1, 2, 3] = 1
    assert np.allclose(Level(spot, np.eye(4)).mass_centre_mm, (1, 2, 3))
    assert np.allclose(Level(spot * 0, np.eye(4)).mass_centre_mm, (2, 2, 2))
