"""Volumes come to the training spacing and to [0, 1]."""

import numpy as np
import pytest

from vsuda_cli.config import Preprocessing
from vsuda_cli.images.preprocessing import normalise, prepare


def test_percentiles_of_the_inside_go_to_0_and_1() -> None:
    array = np.arange(1, 1002, dtype=np.float32).reshape(7, 11, 13)
    found = normalise(array, (10, 90))
    assert found.dtype == np.float32
    low, high = 101, 901  # the 10th and 90th percentile of 1..1001
    np.testing.assert_allclose(found, np.clip((array - low) / (high - low), 0, 1), atol=1e-6)


def test_padding_changes_nothing() -> None:
    array = np.random.default_rng(0).uniform(10, 20, (6, 6, 6)).astype(np.float32)
    padded = np.pad(array, 4)
    np.testing.assert_array_equal(
        normalise(padded, (1, 99))[4:-4, 4:-4, 4:-4], normalise(array, (1, 99))
    )
    assert normalise(padded, (1, 99))[0, 0, 0] == 0


@pytest.mark.parametrize("padding", [-1000.0, -0.5])
def test_padding_with_a_negative_value_is_padding_too(padding: float) -> None:
    array = np.random.default_rng(0).uniform(10, 20, (6, 6, 6)).astype(np.float32)
    padded = np.pad(array, 4, constant_values=padding)
    preprocessing = Preprocessing((0.8, 1.1, 1.0), (1, 99))
    found, _ = prepare(padded, np.eye(4), preprocessing)
    expected, _ = prepare(np.pad(array, 4), np.eye(4), preprocessing)
    np.testing.assert_array_equal(found, expected)


def test_scale_and_offset_of_the_scanner_do_not_matter() -> None:
    array = np.random.default_rng(1).uniform(10, 20, (6, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(
        normalise(array * 37 + 500, (0.5, 99.5)), normalise(array, (0.5, 99.5)), atol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0])
def test_a_constant_image_becomes_0(value: float) -> None:
    found = normalise(np.full((3, 3, 3), value, np.float32), (0.5, 99.5))
    assert found.dtype == np.float32
    assert not found.any()


def test_prepare_resamples_and_keeps_the_place() -> None:
    array = np.zeros((16, 16, 8), np.float32)
    array[:] = np.linspace(1, 2, 16)[:, None, None]
    affine = np.diag([1.0, -1.0, 3.0, 1.0])
    affine[:3, 3] = (5, 6, 7)
    found, new_affine = prepare(array, affine, Preprocessing((0.5, 2.0, 1.5), (0, 100)))
    assert found.shape == (32, 8, 16)
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_allclose(np.linalg.norm(new_affine[:3, :3], axis=0), (0.5, 2, 1.5))
    for shape, matrix in ((array.shape, affine), (found.shape, new_affine)):
        middle = matrix @ [*((np.array(shape) - 1) / 2), 1]
        np.testing.assert_allclose(middle[:3], (affine @ [7.5, 7.5, 3.5, 1])[:3], atol=1e-6)
    # The ramp along x is still one.
    assert (np.diff(found[:, 4, 8]) >= 0).all()
