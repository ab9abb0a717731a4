"""The label-free distance between image sets orders what is obviously nearer and farther."""

import pytest
import torch
from torch import Tensor

from vsuda_cli.training.translation_metric import sliced_wasserstein


def volumes(level: float, seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.rand((1, 20, 24, 6), generator=random) * 0.2 + level for _ in range(2)]


def test_the_same_set_is_near_and_a_brighter_one_far() -> None:
    near = sliced_wasserstein(volumes(0.3, 0), volumes(0.3, 1))
    far = sliced_wasserstein(volumes(0.3, 0), volumes(0.6, 1))
    assert near < 0.02 < far


def test_it_sees_texture_at_equal_brightness() -> None:
    flat = [torch.full((1, 20, 24, 6), 0.4)]
    assert sliced_wasserstein(flat, volumes(0.3, 0)) > 2 * sliced_wasserstein(
        volumes(0.3, 1), volumes(0.3, 0)
    )


def test_crops_narrower_than_a_patch_are_compared_too() -> None:
    narrow = [torch.rand(1, 6, 5, 3, generator=torch.Generator().manual_seed(0))]
    near = sliced_wasserstein(narrow, narrow)
    assert sliced_wasserstein(narrow, [narrow[0] + 0.5]) > 10 * near


def test_it_repeats_itself() -> None:
    first, second = volumes(0.3, 0), volumes(0.4, 1)
    assert sliced_wasserstein(first, second) == pytest.approx(sliced_wasserstein(first, second))
