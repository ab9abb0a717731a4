"""Full precision where there is no CUDA; layouts and compiled blocks change nothing else."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import (
    SAME,
    SEGMENTATION,
    TRANSLATION,
    noise_image,
    segmenter_run,
    translator_run,
)

from vsuda_cli.config import Training, UNet
from vsuda_cli.inference import load_run
from vsuda_cli.networks.resnet_generator import ResnetGenerator
from vsuda_cli.training import segmenter, translation
from vsuda_cli.training.data import Item
from vsuda_cli.training.precision import (
    autocast,
    made_fast,
)
from vsuda_cli.training.segmenter import build_unet
from vsuda_cli.translating import load_translator

CPU = torch.device("cpu")


def test_the_cpu_keeps_full_precision() -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(torch.device("cpu"), True):
        inside = layer(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, layer(x))


def test_bf16_is_for_cuda_and_can_be_declined() -> None:
    assert autocast(torch.device("cpu"), True)._enabled is False
    assert autocast(torch.device("cuda"), False)._enabled is False


def test_what_a_run_finds_and_validates_is_in_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_on_a_gpu(device: torch.device, wanted: bool) -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)

    image = noise_image()
    label = torch.from_numpy(image > np.median(image)).to(torch.uint8)

    def found(mixed: bool) -> list[np.ndarray]:
        folder = tmp_path / f"{mixed}"
        segments = replace(SEGMENTATION, mixed_precision=mixed)
        translates = replace(TRANSLATION, mixed_precision=mixed)
        segment = load_run(segmenter_run(folder / "segmenter", settings=segments))
        run = translator_run(folder / "translator", settings=translates)
        translator = load_translator(run, "best", CPU)
        item = Item("a", torch.from_numpy(image)[None], label)
        network = segment.members[0].network
        dice = segmenter.validation_dice(network, [item], segments, CPU)
        other = [Item("b", torch.rand(1, 20, 18, 9), None)]
        distance = translation.validation_distance(
            translator.network, [item], other, CPU, mixed=mixed
        )
        scores = np.array([*dice.values(), *distance.values()])
        return [segment(image, SAME), translator(image, SAME)[0], scores]

    torch.manual_seed(0)
    full = found(mixed=False)
    monkeypatch.setattr(segmenter, "autocast", as_on_a_gpu)
    monkeypatch.setattr(translation, "autocast", as_on_a_gpu)
    torch.manual_seed(0)
    for one, again in zip(full, found(mixed=False), strict=True):
        assert np.array_equal(one, again)
    torch.manual_seed(0)
    for one, other in zip(full, found(mixed=True), strict=True):
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("dims", [2, 3])
def test_channels_last_turns_the_convolutions_weights(dims: int) -> None:
    network = ResnetGenerator(dims, 4, 1)
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    shape = (1, 1, 16, 12) if dims == 2 else (1, 1, 16, 12, 5)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    straight = network(image)
    assert made_fast(network, Training(channels_last=True)) is network
    wide = [p for p in network.parameters() if p.ndim == dims + 2 and min(p.shape[:2]) > 1]
    assert wide and all(p.is_contiguous(memory_format=layout) for p in wide)
    torch.testing.assert_close(network(image), straight)


def test_channels_last_leaves_networks_without_convolutions() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    assert made_fast(network, Training(channels_last=True)) is network
    assert all(p.is_contiguous() for p in network.parameters())


def test_blocks_of_both_kinds_of_network_are_compiled() -> None:
    small = build_unet(UNet((2, 4), ((3, 3, 1), (3, 3, 3)), ((2, 2, 1),)), 3)
    networks = {ResnetGenerator(2, 4, 2): 2, small: 3}
    for network, count in networks.items():
        made_fast(network, Training(compile_blocks=True))
        compiled = [one for one in network.modules() if one._compiled_call_impl is not None]
        assert len(compiled) == count


@pytest.mark.slow
def test_compiled_blocks_are_the_same_to_rounding_and_keep_their_names() -> None:
    network = ResnetGenerator(2, 4, 2)
    twin = made_fast(copy.deepcopy(network), Training(compile_blocks=True))
    assert list(twin.state_dict()) == list(network.state_dict())
    image = torch.rand((1, 1, 16, 12), generator=torch.Generator().manual_seed(0))
    losses = []
    for one in (network, twin):
        loss = one(image).square().mean()
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)
