"""Random changes of patches: off at 0, within their ranges, the same for the same generator."""

import dataclasses

import pytest
import torch

from vsuda_cli.config import Augmentation
from vsuda_cli.training.augmentation import (
    augment_intensity,
    mirror_some,
    noise_level,
    scale_structures,
)

OFF = Augmentation(rotation_degrees=0, scale=0, gamma=0, contrast=0, brightness=0, noise=0, bias=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 3) -> torch.Tensor:
    return torch.rand((count, 1, 8, 8, 6), generator=generator(9))


def test_ranges_of_0_change_nothing() -> None:
    x = images()
    x[0, 0, 0, 0, 0] = 0
    torch.testing.assert_close(augment_intensity(x, OFF, generator()), x, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", ["gamma", "contrast", "brightness", "noise", "bias"])
def test_every_range_changes_images_each_in_its_own_way(name: str) -> None:
    same = images(1).expand(3, -1, -1, -1, -1)
    changed = augment_intensity(same, dataclasses.replace(OFF, **{name: 0.3}), generator())
    assert changed.shape == same.shape
    assert (changed - same).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-4
    assert (changed[0] - changed[1]).abs().max() > 1e-3
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_brightness_stays_within_its_range() -> None:
    grey = torch.full((200, 1, 2, 2, 2), 0.5)
    changed = augment_intensity(grey, dataclasses.replace(OFF, brightness=0.1), generator())
    shift = (changed - grey)[:, 0, 0, 0, 0]
    assert shift.abs().max() <= 0.1 + 1e-5
    assert shift.min() < -0.08
    assert shift.max() > 0.08


def test_blur_smooths_in_plane_each_image_by_its_own_width() -> None:
    point = torch.zeros((40, 1, 15, 15, 3))
    point[:, :, 7, 7, 1] = 1
    found = augment_intensity(point, dataclasses.replace(OFF, blur=1.5), generator())[:, 0]
    assert found[:, :, :, [0, 2]].max() < 1e-4  # slices stay apart
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), torch.ones(40), atol=2e-3, rtol=0)
    x = torch.arange(15.0).view(1, -1, 1, 1) - 7
    sigmas = (found * x**2).sum(dim=(1, 2, 3)).sqrt()
    assert sigmas.min() < 0.4 and 1.2 < sigmas.max() <= 1.5
    torch.testing.assert_close(found, found.transpose(1, 2), atol=1e-5, rtol=0)


def test_a_generator_repeats_itself() -> None:
    ranges = Augmentation()
    x = images()
    first = augment_intensity(x, ranges, generator(1))
    torch.manual_seed(123)  # the global state has no part in it
    assert torch.equal(augment_intensity(x, ranges, generator(1)), first)
    assert not torch.equal(augment_intensity(x, ranges, generator(2)), first)


def test_each_structure_gets_its_own_factor() -> None:
    x = torch.full((400, 1, 3, 1, 1), 0.4)
    labels = torch.tensor([0, 1, 2]).view(1, 3, 1, 1).expand(400, 3, 1, 1)
    changed = scale_structures(x, labels, ((0.5, 2.0), (0.5, 1.0)), generator())[:, 0, :, 0, 0]
    assert torch.equal(changed[:, 0], x[:, 0, 0, 0, 0])
    gains = changed[:, 1:] / 0.4
    assert gains.min() >= 0.5 - 1e-6
    assert gains[:, 0].max() <= 2 + 1e-6 and gains[:, 1].max() <= 1 + 1e-6
    # The mean of U(0.5, 2) is 1.25, of U(0.5, 1) 0.75; 400 draws are within four standard errors.
    assert gains[:, 0].mean().item() == pytest.approx(1.25, abs=4 * 0.433 / 20)
    assert gains[:, 1].mean().item() == pytest.approx(0.75, abs=4 * 0.145 / 20)
    assert torch.corrcoef(gains.T)[0, 1].abs() < 0.2
    only_first = scale_structures(x * 2, labels, ((0.5, 2.0),), generator())
    assert only_first.max() <= 1
    assert torch.equal(only_first[:, :, 2], x[:, :, 2] * 2)


def test_a_share_of_images_is_mirrored_with_its_labels() -> None:
    x = torch.rand((200, 1, 5, 3, 2), generator=generator(8))
    labels = (x[:, 0] > 0.5).to(torch.uint8)
    images, mirrored = mirror_some(x, labels, 0.3, generator())
    assert torch.equal((images[:, 0] > 0.5).to(torch.uint8), mirrored)
    flipped = (images != x).flatten(1).any(dim=1)
    assert 0.2 < flipped.float().mean() < 0.4
    assert torch.equal(images[flipped], x[flipped].flip(2))


def volume(size: tuple[int, int, int]) -> torch.Tensor:
    return torch.rand((1, 1, *size), generator=generator(4))


@pytest.mark.parametrize("deviation", [0.0, 0.02, 0.06])
def test_noise_is_told_from_edges_and_from_where_there_is_no_signal(deviation: float) -> None:
    source = torch.Generator().manual_seed(0)
    images = torch.zeros((2, 1, 80, 80, 4))
    # A grey half with a bright box in it.
    images[:, :, 35:] = 0.4
    images[:, :, 40:75, 20:60] = 0.8
    signal = images > 0
    images += signal * deviation * torch.randn(images.shape, generator=source)
    found = noise_level(images)
    assert found.shape == (2, 1, 1, 1, 1)
    torch.testing.assert_close(found, torch.full_like(found, deviation), rtol=0.2, atol=1e-6)
    assert not noise_level(torch.zeros((1, 1, 8, 8, 4))).any()
