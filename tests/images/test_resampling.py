"""Resampling keeps places, ranges and grids."""

import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.resampling import resample_image, resample_label, resample_to_grid

SPACING = (0.7, 0.9, 2.1)


def oblique(spacing=(0.5, 0.6, 1.0), angle=0.3):
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-c, s, 0], [s, c, 0], [0, 0, 1]]) * np.array(spacing)
    affine[:3, 3] = (40, -20, 7)
    return affine


def centre(shape, affine):
    return affine[:3, :3] @ ((np.array(shape) - 1) / 2) + affine[:3, 3]


def test_image_and_label_get_the_same_grid():
    image = np.random.default_rng(0).random((17, 20, 9), dtype=np.float32)
    label = (image > 0.5).astype(np.uint8)
    new_image, image_affine = resample_image(image, oblique(), SPACING)
    new_label, label_affine = resample_label(label, oblique(), SPACING)
    assert new_image.shape == new_label.shape
    assert np.array_equal(image_affine, label_affine)
    assert new_image.dtype == np.float32
    assert new_label.dtype == np.uint8


def test_spacing_directions_and_centre():
    image = np.zeros((17, 20, 9), dtype=np.float32)
    new, affine = resample_image(image, oblique(), SPACING)
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), SPACING)
    assert np.allclose(affine[:3, :3] / SPACING, oblique()[:3, :3] / (0.5, 0.6, 1.0))
    assert np.allclose(centre(new.shape, affine), centre(image.shape, oblique()))


def test_same_spacing_changes_nothing():
    image = np.random.default_rng(1).random((5, 6, 7), dtype=np.float32)
    label = (image * 3).astype(np.uint8)
    affine = oblique().astype(np.float32).astype(np.float64)
    assert np.array_equal(resample_image(image, affine, (0.5, 0.6, 1.0))[0], image)
    assert np.array_equal(resample_label(label, affine, (0.5, 0.6, 1.0))[0], label)


@pytest.mark.parametrize("spacing", [(0.3, 0.6, 1.0), (1.1, 1.3, 2.0)])
def test_a_ramp_stays_a_ramp_in_the_world(spacing):
    x = np.arange(40, dtype=np.float32)
    ramp = np.broadcast_to(x[:, None, None], (40, 12, 10)).copy()
    new, affine = resample_image(ramp, oblique(), spacing)
    index = np.stack(np.meshgrid(*map(np.arange, new.shape), indexing="ij"), -1)
    old = np.linalg.solve(oblique(), affine)
    expected = (index @ old[:3, :3].T + old[:3, 3])[..., 0]
    inner = slice(6, -6) if new.shape[0] > 14 else slice(4, -4)
    assert np.allclose(new[inner], expected[inner], atol=0.05)


@pytest.mark.parametrize("spacing_mm", [0.4, 0.625])
def test_cubic_convolution_keeps_a_parabola(spacing_mm):
    # What sets a = -1/2 apart from other cubic kernels (Keys 1981): it is exact to second order.
    x = np.arange(40, dtype=np.float32)
    parabola = np.broadcast_to((x**2)[:, None, None], (40, 3, 2)).copy()
    new, affine = resample_image(parabola, np.eye(4), (spacing_mm, 1.0, 1.0))
    where = np.arange(new.shape[0]) * spacing_mm + affine[0, 3]
    inner = slice(6, -6)
    assert np.allclose(new[inner, 1, 1], where[inner] ** 2, rtol=1e-5)


def test_downsampling_does_not_alias():
    stripes = np.zeros((64, 8, 8), dtype=np.float32)
    stripes[::2] = 1
    new, _ = resample_image(stripes, np.eye(4), (4.0, 1.0, 1.0))
    assert np.abs(new[2:-2] - 0.5).max() < 0.1


def test_no_overshoot():
    step = np.zeros((20, 4, 4), dtype=np.float32)
    step[10:] = 7
    new, _ = resample_image(step, np.eye(4), (0.37, 1.0, 1.0))
    assert new.min() >= 0
    assert new.max() <= 7


def test_labels_keep_their_volume_and_values():
    x, y, z = np.ogrid[:30, :30, :12]
    ball = ((x - 14) * 0.5) ** 2 + ((y - 15) * 0.5) ** 2 + ((z - 6) * 1.5) ** 2 < 4.3**2
    label = np.where(ball, np.where(x < 12, 5, 1), 0).astype(np.uint8)
    new, affine = resample_label(label, np.diag([0.5, 0.5, 1.5, 1]), (0.4, 0.4, 1.0))
    assert set(np.unique(new)) == {0, 1, 5}
    for value in (1, 5):
        before = np.count_nonzero(label == value) * 0.375
        after = np.count_nonzero(new == value) * abs(np.linalg.det(affine[:3, :3]))
        assert after == pytest.approx(before, rel=0.06)


def test_a_spacing_that_gives_as_many_voxels_moves_them_all_the_same():
    ramp = np.broadcast_to(np.arange(3, dtype=np.float32)[:, None, None], (3, 2, 2)).copy()
    new, affine = resample_image(ramp, np.eye(4), (0.9, 1.0, 1.0))
    assert new.shape == ramp.shape
    assert affine[0, 3] == pytest.approx(0.1)
    # Keys' weights at 0.1 are 0.0685 of the next voxel and -0.0045 of the one after it; beyond the
    # border the first one is repeated.
    lowest = 0.0685 - 2 * 0.0045
    assert new[:, 0, 0].tolist() == pytest.approx([lowest, 1, 2 - lowest], abs=1e-5)


def test_an_empty_label_map_stays_empty():
    new, _ = resample_label(np.zeros((4, 5, 6), np.uint8), np.eye(4), (0.5, 1.0, 2.0))
    assert new.shape == (8, 5, 3)
    assert not new.any()


def test_a_tie_of_labels_stays_with_the_smaller_one():
    label = np.zeros((4, 3, 3), dtype=np.uint8)
    label[:2], label[2:] = 2, 1
    # The new middle voxel's centre lies between the two.
    new, _ = resample_label(label, np.eye(4), (4 / 5, 1.0, 1.0))
    assert new[:, 1, 1].tolist() == [2, 2, 1, 1, 1]


def test_to_grid_and_back_by_nearest_is_exact():
    label = np.random.default_rng(2).integers(0, 3, (9, 8, 7)).astype(np.float32)
    turned = np.ascontiguousarray(label.transpose(2, 0, 1)[::-1])
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 1, 0], [0, 0, 1], [-1, 0, 0]]
    matrix[2, 3] = 6
    found = resample_to_grid(label, oblique(), turned.shape, oblique() @ matrix, order=0)
    assert np.array_equal(found, turned)


def test_to_grid_continues_half_a_voxel_and_fills_beyond():
    image = np.ones((4, 4, 4), dtype=np.float32)
    grid = np.diag([0.5, 1, 1, 1.0])
    grid[0, 3] = -1.0
    found = resample_to_grid(image, np.eye(4), (11, 4, 4), grid, order=1)
    assert found[:, 0, 0].tolist() == [0, *[1] * 9, 0]


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, np.nan, 1), (1, 1)])
def test_impossible_spacing_is_refused(spacing):
    with pytest.raises(VsudaError, match="positive"):
        resample_image(np.zeros((3, 3, 3), np.float32), np.eye(4), spacing)
