"""Full precision where there is no CUDA; layouts and compiled blocks change nothing else."""

import copy

import pytest
import torch

from vsuda_cli.config import Training, UNet
from vsuda_cli.networks.resnet_generator import ResnetGenerator
from vsuda_cli.training.precision import (
    autocast,
    made_fast,
)
from vsuda_cli.training.segmenter import build_unet


def test_the_cpu_keeps_full_precision() -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(torch.device("cpu")):
        inside = layer(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, layer(x))


def test_bf16_is_for_cuda_and_can_be_declined() -> None:
    assert autocast(torch.device("cpu"), True)._enabled is False
    assert autocast(torch.device("cuda"), False)._enabled is False


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
