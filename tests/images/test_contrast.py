"""The curve between two contrasts is found from crops of different heads that never match."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vsuda_cli.images.contrast import FITTED_POINTS, fit_curve

# Dark stays dark, the next darkest is brightest, the rest falls and rises.
CURVE = np.array([0, 0.8, 0.9, 0.6, 0.3, 0.2, 0.3, 0.5, 0.6, 0.5, 0.4])


def heads(count: int, seed: int) -> list[NDArray[np.float32]]:
    """Return crops with the same anatomy on average, each deformed in its own way."""
    random = np.random.default_rng(seed)
    atlas = gaussian_filter(np.random.default_rng(99).normal(size=(30, 28, 16)), 3)
    atlas = (atlas - atlas.min()) / np.ptp(atlas)
    made = []
    for _ in range(count):
        shift = random.integers(-1, 2, 3)
        own = gaussian_filter(random.normal(size=atlas.shape), 2) * 0.3
        moved = np.roll(atlas, shift, axis=(0, 1, 2)) + own
        trim = random.integers(0, 2)
        made.append(moved[trim : len(moved) - trim].clip(0, 1).astype(np.float32))
    return made


def shown(crops: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    points = np.linspace(0, 1, FITTED_POINTS)
    return [np.interp(crop, points, CURVE).astype(np.float32) for crop in crops]


def test_the_curve_is_found_between_heads_that_never_match() -> None:
    found = fit_curve(heads(20, seed=1), shown(heads(20, seed=2)))
    # The middle, where most voxels lie; at both ends there are few.
    assert np.abs(found - CURVE)[1:-1].max() < 0.1
    assert found.min() >= 0 and found.max() <= 1


def test_thin_fluid_keeps_its_brightness_though_no_two_heads_match() -> None:
    random = np.random.default_rng(0)
    first, second = [], []
    for crops, fluid, brain in ((first, 0.2, 0.6), (second, 0.9, 0.4)):
        for _ in range(20):
            crop = np.full((40, 30, 8), brain, np.float32)
            edge = random.integers(14, 24)
            crop[edge : edge + 3], crop[edge + 3 :] = fluid, 0
            crops.append(crop)
    found = fit_curve(first, second)
    assert found[0] == pytest.approx(0, abs=0.05)
    assert found[2] > 0.65
    assert found[6] == pytest.approx(0.4, abs=0.05)


def test_between_the_same_crops_it_changes_little() -> None:
    crops = heads(4, seed=3)
    straight = np.linspace(0, 1, FITTED_POINTS)
    assert fit_curve(crops, crops)[1:-1] == pytest.approx(straight[1:-1], abs=0.1)


def test_constant_crops_do_no_harm() -> None:
    dark = [np.zeros((5, 5, 5), dtype=np.float32)]
    assert np.isfinite(fit_curve(dark, dark)).all()
