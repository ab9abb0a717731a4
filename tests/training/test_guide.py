"""The frozen segmenter's loss reaches the generator, for every method, and never the segmenter."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_networks import GENERATORS, UNET
from torch import Tensor, nn

from vsuda_cli import resolving
from vsuda_cli.config import TranslationSettings
from vsuda_cli.training import guide
from vsuda_cli.training.cut import Cut
from vsuda_cli.training.cyclegan import CycleGan
from vsuda_cli.training.guide import Guide
from vsuda_cli.training.segmenter import build_unet

CPU = torch.device("cpu")
NUMBERS: dict[str, Any] = {
    **GENERATORS,
    "nce_patches": 16,
    # Nothing but the guide moves the generator.
    "gan_weight": 0.0,
    "cycle_weight": 0.0,
    "nce_weight": 0.0,
    "learning_rate": 1e-3,
    "slice_chunk": 4,
}


def batch(dims: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    shape = (2, 1, 16, 16) if dims == 2 else (1, 1, 16, 16, 8)
    labels = torch.zeros((1, 16, 16, 8), dtype=torch.uint8)
    labels[:, 4:9, 4:9, 2:6], labels[:, 11:14, 10:13, 2:5] = 1, 2
    stack = torch.rand((1, 1, 16, 16, 8), generator=random)
    images = {name: torch.rand(shape, generator=random) for name in ("source", "target")}
    return {**images, "stack": stack, "stack_label": labels}


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten() for value in network.parameters()])


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
@pytest.mark.parametrize("dims", [2, 3])
def test_it_moves_the_generator_and_stays_itself(method: str, dims: int) -> None:
    settings = resolving.resolve(
        TranslationSettings, preset="paper", values={"method": method, "dims": dims, **NUMBERS}
    )
    torch.manual_seed(0)
    segmenter = build_unet(UNET, 3)
    before = weights(segmenter)
    objective = CycleGan(settings, CPU) if method == "cyclegan" else Cut(settings, CPU)
    objective.guide = Guide(segmenter, settings, CPU)
    objective.set_epoch(0)
    losses = [objective.update(batch(dims))["guide"].item() for _ in range(12)]
    assert losses[-1] < losses[0]
    assert torch.equal(weights(segmenter), before)
    assert not segmenter.training


def test_the_weight_scales_the_loss() -> None:
    settings = resolving.resolve(TranslationSettings, preset="paper", values=NUMBERS)
    generator = CycleGan(settings, CPU).to_target
    torch.manual_seed(0)
    segmenter = build_unet(UNET, 3)
    stack, labels = batch(2)["stack"], batch(2)["stack_label"]
    one, three = (
        Guide(segmenter, replace(settings, guide_weight=weight), CPU)
        .loss(generator, stack, labels)
        .item()
        for weight in (1.0, 3.0)
    )
    assert three == pytest.approx(3 * one, rel=1e-5)


def test_it_calculates_in_the_runs_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_on_a_gpu(device: torch.device, wanted: bool = True) -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)

    settings = resolving.resolve(TranslationSettings, preset="paper", values=NUMBERS)
    generator = CycleGan(settings, CPU).to_target
    segmenter = build_unet(UNET, 3)
    stack, labels = batch(2)["stack"], batch(2)["stack_label"]

    def loss(mixed: bool) -> float:
        judge = Guide(segmenter, replace(settings, mixed_precision=mixed), CPU)
        return judge.loss(generator, stack, labels).item()

    full = loss(mixed=False)
    monkeypatch.setattr(guide, "autocast", as_on_a_gpu)
    assert loss(mixed=False) == full
    assert loss(mixed=True) != full
