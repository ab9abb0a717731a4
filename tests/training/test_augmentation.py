"""Random changes of patches: off at 0, within their ranges, the same for the same generator."""

import dataclasses

import pytest
import torch

from vsuda_cli.config import Augmentation
from vsuda_cli.training.augmentation import (
    CurvePrior,
    augment_intensity,
    expected_curve,
    mirror_some,
    random_curve,
    random_structure_intensity,
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


def test_structures_get_intensities_of_their_own_in_a_share_of_images() -> None:
    x = torch.rand((400, 1, 6, 4, 1), generator=generator(3)) * 0.2 + 0.4
    labels = torch.arange(3).repeat_interleave(2).view(1, 6, 1, 1).expand(400, 6, 4, 1)
    changed = random_structure_intensity(x, labels, 0.5, ((0, 1), (0, 1)), generator())
    assert torch.equal(changed[:, :, :2], x[:, :, :2])  # the background
    moved = (changed - x).abs().amax(dim=(1, 2, 3, 4)) > 1e-3
    assert 0.4 < moved.float().mean() < 0.6
    means = changed[moved][:, 0].unflatten(1, (3, 2)).mean(dim=(2, 3, 4))[:, 1:]
    assert means.min() < 0.1 and means.max() > 0.9
    correlation = torch.corrcoef(means.T)[0, 1]
    assert correlation.abs() < 0.3
    assert torch.equal(random_structure_intensity(x, labels, 0.0, ((0, 1),), generator()), x)


def test_gradients_flow_through_what_varies_translated_images() -> None:
    x = torch.rand((2, 1, 6, 4, 2), generator=generator(5))
    labels = torch.arange(3).repeat_interleave(2).view(1, 6, 1, 1).expand(2, 6, 4, 2)
    for vary in (
        lambda y: random_structure_intensity(y, labels, 1.0, ((0.2, 0.8), (0.2, 0.8)), generator()),
        lambda y: random_curve(y, 1.0, CurvePrior(), generator()),
        lambda y: scale_structures(y, labels, ((0.5, 1.0),), generator()),
        lambda y: augment_intensity(y, dataclasses.replace(Augmentation(), blur=1.0), generator()),
    ):
        start = x.clone().requires_grad_()
        # The generator's output is no leaf.
        vary(start * 1.0).sum().backward()
        assert start.grad is not None and start.grad.abs().sum() > 0


def test_structures_stay_within_their_ranges() -> None:
    x = torch.full((100, 1, 3, 1, 1), 0.4)
    labels = torch.arange(3).view(1, 3, 1, 1).expand(100, 3, 1, 1)
    ranges = ((0.3, 0.8), (0.9, 1.0))
    changed = random_structure_intensity(x, labels, 1.0, ranges, generator())[:, 0, :, 0, 0]
    for structure, (low, high) in enumerate(ranges, start=1):
        found = changed[:, structure]
        assert low <= found.min() < low + 0.1 and high - 0.1 < found.max() <= high


def test_curves_are_functions_of_intensity_and_not_always_rising() -> None:
    x = torch.linspace(0, 1, 50).view(1, 1, 50, 1, 1).repeat(200, 1, 1, 2, 1)
    changed = random_curve(x, 0.5, CurvePrior(), generator())
    assert torch.equal(changed[:, :, :, 0], changed[:, :, :, 1])  # the same grey, the same result
    moved = (changed - x).abs().amax(dim=(1, 2, 3, 4)) > 1e-3
    assert 0.35 < moved.float().mean() < 0.65
    steps = changed[moved, 0, :, 0, 0].diff(dim=1)
    assert (steps < 0).any(dim=1).float().mean() > 0.8
    assert changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(random_curve(x, 0.0, CurvePrior(), generator()), x)


def test_curves_around_a_known_one_reach_from_it_to_random_ones() -> None:
    x = torch.linspace(0, 1, 11).view(1, 1, 11, 1, 1).repeat(300, 1, 1, 1, 1)
    negative = torch.linspace(1, 0, 11)
    changed = random_curve(x, 1.0, CurvePrior(around=negative), generator())[:, 0, :, 0, 0]
    distance = (changed - negative).abs().mean(dim=1)
    assert distance.min() < 0.01
    assert distance.max() > 0.25
    assert (changed.mean(dim=0) - negative).abs().max() < 0.3


def test_at_anchors_curves_keep_to_their_ranges_and_dark_stays_dark() -> None:
    x = torch.linspace(0, 1, 41).view(1, 1, 41, 1, 1).repeat(300, 1, 1, 1, 1)
    prior = CurvePrior(anchors=torch.tensor([(0.875, 0.3, 0.8), (0.2, 0.7, 1.0)]))
    changed = random_curve(x, 1.0, prior, generator())[:, 0, :, 0, 0]
    assert changed[:, 0].max() < 0.1
    tumour, fluid, between = changed[:, 35], changed[:, 8], changed[:, 22]
    assert tumour.min() >= 0.28 and tumour.max() <= 0.82
    assert fluid.min() >= 0.65 and fluid.max() <= 1.0
    assert between.min() < 0.2 and between.max() > 0.8
    expected = expected_curve(prior, torch.device("cpu"))
    assert expected[35].item() == pytest.approx(0.55, abs=0.02)
    assert expected[8].item() == pytest.approx(0.85, abs=0.03)
    assert expected_curve(CurvePrior(), torch.device("cpu"))[20] == 0.5


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
