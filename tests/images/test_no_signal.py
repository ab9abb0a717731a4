"""Voxels without a signal are known by their value, whatever the scan was padded with."""

import numpy as np
import pytest

from vsuda_cli.images.no_signal import no_signal_value, padding_value, with_no_signal_at_0


def scan() -> np.ndarray:
    return np.random.default_rng(0).uniform(10, 20, (5, 6, 7)).astype(np.float32)


@pytest.mark.parametrize("padding", [0.0, -1.5, -1024.0])
def test_padding_is_found_and_brought_to_0(padding: float) -> None:
    padded = np.pad(scan(), 2, constant_values=padding)
    assert no_signal_value(padded) == padding
    shifted = with_no_signal_at_0(padded)
    assert shifted.dtype == np.float32
    np.testing.assert_array_equal(shifted, np.pad(scan(), 2))


def test_intensities_below_0_are_shifted_with_it() -> None:
    padded = np.pad(scan() - 15, 2, constant_values=-9)
    shifted = with_no_signal_at_0(padded)
    assert shifted[0, 0, 0] == shifted.min() == 0
    np.testing.assert_allclose(shifted[2:-2, 2:-2, 2:-2], scan() - scan().min(), atol=1e-5)


def test_an_image_without_padding_or_padded_with_0_is_left_alone() -> None:
    for image in (scan(), np.pad(scan(), 2)):
        assert with_no_signal_at_0(image) is image


def test_of_negative_values_0_is_padding_where_more_voxels_have_it() -> None:
    real_part = np.pad(scan() - 15, 2)
    assert real_part.min() < 0
    assert no_signal_value(real_part) == 0


def test_a_scan_is_padded_with_its_air() -> None:
    for air in (0.0, -1000.0):
        assert padding_value(np.pad(scan(), 2, constant_values=air)) == air
    # With noise in it, no value is frequent.
    for offset in (np.pad(scan(), 2) + np.float32(1000), scan() + np.float32(1000)):
        assert padding_value(offset) == offset.min() >= 1000
    # A slab without air is dark somewhere.
    assert padding_value(scan() - np.float32(9.5)) == 0


def test_nothing_and_label_maps_have_0() -> None:
    nothing = np.zeros((0, 3, 3), np.float32)
    assert no_signal_value(nothing) == padding_value(nothing) == 0
    assert no_signal_value(np.ones((3, 3, 3), np.uint8)) == 0
