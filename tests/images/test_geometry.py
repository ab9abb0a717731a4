"""Small matrices do what they say."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vsuda_cli.images.geometry import (
    corners,
    flip_index,
    inverse,
    pixel_mm,
    reflection,
    spacing_of,
    transform,
    translation,
    voxel_mm3,
)

AFFINE = np.array([[0, -0.5, 0, 3], [0.7, 0, 0, -2], [0, 0, 2, 9], [0, 0, 0, 1.0]])
POINTS = np.array([[1.0, 2, 3], [-4, 0, 2]])


def test_transform_and_back():
    there = transform(AFFINE, POINTS)
    assert np.allclose(there[0], [2, -1.3, 15])
    assert np.allclose(transform(inverse(AFFINE), there), POINTS)


def test_translation():
    assert np.allclose(
        transform(translation(np.array([1.0, 2, 3])), POINTS), POINTS + np.array([1, 2, 3])
    )


def test_spacing_is_along_the_arrays_own_axes():
    assert np.allclose(spacing_of(AFFINE), (0.7, 0.5, 2))
    turned = Rotation.from_euler("xyz", (20, -10, 15), degrees=True).as_matrix()
    oblique = np.eye(4)
    oblique[:3, :3] = turned @ AFFINE[:3, :3]
    assert np.allclose(spacing_of(oblique), (0.7, 0.5, 2))


def test_a_voxels_volume_is_positive_in_mirrored_grids_too():
    assert voxel_mm3(AFFINE) == pytest.approx(0.7)
    assert voxel_mm3(AFFINE @ flip_index(7)) == pytest.approx(0.7)


def test_reflection_exchanges_the_ends_of_the_first_axis():
    ends = np.array([[0.0, 1, 1], [6, 1, 1]])
    assert np.allclose(transform(flip_index(7), ends), ends[::-1])
    mirrored = transform(reflection(AFFINE, 7), transform(AFFINE, ends))
    assert np.allclose(mirrored, transform(AFFINE, ends)[::-1])


def test_corners():
    found = corners(np.array([0.0, 0, 0]), np.array([1.0, 2, 3]))
    assert found.shape == (8, 3)
    assert found.min(axis=0).tolist() == [0, 0, 0]
    assert found.max(axis=0).tolist() == [1, 2, 3]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_pixels_are_as_large_however_a_scan_is_turned_and_stored(order):
    assert pixel_mm(AFFINE) == 0.7
    for degrees in np.random.default_rng(0).uniform(-20, 20, (50, 3)):
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        affine[:3, :3] *= (0.5, 0.5, 1.5)
        affine[:3, :3] = affine[:3, order]
        # As a header holds it.
        assert pixel_mm(affine.astype(np.float32).astype(np.float64)) == 0.5
