"""The curve as an objective: found at once, exported as a generator, kept by its state."""

import dataclasses

import pytest
import torch

from vsuda_cli.training.curve import Curve
from vsuda_cli.training.data import Item

CPU = torch.device("cpu")


def crops(negative: bool) -> list[Item]:
    ramp = torch.linspace(0, 1, 12).view(1, 12, 1, 1).expand(1, 12, 6, 4)
    made = []
    for seed in range(6):
        noise = torch.randn(ramp.shape, generator=torch.Generator().manual_seed(seed)) * 0.02
        image = (ramp + noise).clamp(0, 1)
        made.append(Item(f"s{seed}_R", 1 - image if negative else image, None))
    return made


def test_it_exports_the_curve_between_the_contrasts() -> None:
    objective = Curve(crops(negative=False), crops(negative=True), (), CPU)
    curve = objective.models_for_inference()["generator"]
    image = torch.linspace(0.1, 0.9, 9).view(1, 1, 9, 1, 1)
    torch.testing.assert_close(curve(image), 1 - image, atol=0.05, rtol=0)
    batch = {"source": image, "target": 1 - image}
    assert objective.update(batch)["change"] > 0.3
    assert set(objective.pictures(batch)) == {"source", "pseudo target", "target"}


def test_its_state_restores_it() -> None:
    first = Curve(crops(negative=False), crops(negative=True), (), CPU)
    second = Curve(crops(negative=False), crops(negative=False), (), CPU)
    assert not torch.equal(first.generator.heights, second.generator.heights)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.generator.heights, second.generator.heights)
    assert first.set_epoch(0) == {} and first.streams() == []


def test_known_intensities_of_structures_bend_it_and_are_drawn() -> None:
    sources = crops(negative=False)
    for index, item in enumerate(sources):
        label = (item.image[0] > 0.75).to(torch.uint8)
        sources[index] = dataclasses.replace(item, label=label)
    curve = Curve(sources, crops(negative=True), ((0.4, 0.6),), CPU).generator
    assert curve.levels.tolist() == [0.5]
    near_one = torch.full((1, 1, 3, 1, 1), 0.91)
    assert curve(near_one).mean().item() == pytest.approx(0.5, abs=0.05)
    label = torch.ones((3, 1, 1), dtype=torch.uint8)
    assert curve.drawn(near_one, label).mean().item() == pytest.approx(0.5, abs=1e-5)
