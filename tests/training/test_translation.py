"""What both translation methods share: networks, schedule, whole volumes, validation."""

import dataclasses
import itertools

import pytest
import torch

from vsuda_cli import resolving
from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.blur import BlurDown
from vsuda_cli.training.data import Item
from vsuda_cli.training.translation import (
    VALIDATION_METRIC,
    build_discriminator,
    build_generator,
    linear_rate,
    translate_volume,
    validation_distance,
)

CPU = torch.device("cpu")
TOY = TranslationSettings(base_channels=4, residual_blocks=1, discriminator_channels=4)


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_the_default_networks_are_as_large_as_the_published_ones(method: str) -> None:
    settings = resolving.resolve(TranslationSettings, preset="paper", values={"method": method})
    counts = [
        sum(value.numel() for value in network.parameters())
        for network in (build_generator(settings), build_discriminator(settings))
    ]
    # One grey channel instead of three colours: at the generator's both ends and the judge's first.
    two_colours = 2 * 64 * 7 * 7
    assert counts == [11378179 - 2 * two_colours - 2, 2764737 - 2 * 64 * 4 * 4]


def test_only_cuts_networks_are_antialiased() -> None:
    for method, wanted in (("cyclegan", False), ("cut", True), ("fastcut", True)):
        settings = dataclasses.replace(TOY, method=method)
        for network in (build_generator(settings), build_discriminator(settings)):
            assert any(isinstance(part, BlurDown) for part in network.modules()) == wanted


def test_the_rate_is_constant_and_then_falls_linearly() -> None:
    settings = TranslationSettings()
    rates = [linear_rate(settings, epoch) for epoch in range(settings.epochs)]
    assert rates[0] == rates[99] == 2e-4
    steps = [a - b for a, b in itertools.pairwise(rates)]
    assert steps[:99] == [0] * 99
    assert steps[99:] == pytest.approx([2e-4 / 101] * 100)
    assert rates[-1] == pytest.approx(2e-4 / 101)


@pytest.mark.parametrize("dims", [2, 3])
def test_volumes_of_any_size_keep_their_shape(dims: int) -> None:
    generator = build_generator(dataclasses.replace(TOY, dims=dims))
    image = torch.rand(1, 18, 21, 11)
    assert translate_volume(generator, image, CPU, mixed=True).shape == image.shape


def test_slices_are_translated_each_for_itself() -> None:
    generator = build_generator(TOY)
    image = torch.rand(1, 16, 16, 10)
    whole = translate_volume(generator, image, CPU, mixed=True)
    with torch.no_grad():
        one = generator(image[..., 9][None])[0]
    assert torch.allclose(whole[..., 9], one, atol=1e-6)


def test_nothing_held_out_is_no_score() -> None:
    item = Item("a", torch.rand(1, 16, 16, 4), None)
    generator = build_generator(TOY)
    assert validation_distance(generator, [], [item], CPU, mixed=True) == {}
    found = validation_distance(generator, [item], [item], CPU, mixed=True)
    assert set(found) == {VALIDATION_METRIC[0]}


def test_the_nearer_translation_has_the_smaller_score() -> None:
    random = torch.Generator().manual_seed(0)
    image = torch.rand((1, 16, 16, 4), generator=random) / 2
    shifted = dataclasses.replace(Item("a", image, None), image=image + 0.5)
    source = Item("a", image, None)

    class Unchanged(torch.nn.Module):
        dims = 3

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images

    name, larger_is_better = VALIDATION_METRIC
    near, far = (
        validation_distance(Unchanged(), [source], [target], CPU, mixed=True)[name]
        for target in (source, shifted)
    )
    assert near < far
    assert not larger_is_better
