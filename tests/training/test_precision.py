"""The choice of a device, and full precision where there is no CUDA."""

import copy

import pytest
import torch

from vsuda_cli.config import Training, UNet
from vsuda_cli.errors import VsudaError
from vsuda_cli.networks.resnet_generator import ResnetGenerator
from vsuda_cli.training.precision import (
    autocast,
    choose_algorithms,
    choose_device,
    made_fast,
    peak_memory_gib,
)
from vsuda_cli.training.segmenter import build_unet


@pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == torch.device("cpu")


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda") == torch.device("cuda")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(VsudaError, match="--device cuda:2: there are 2 such devices"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(VsudaError, match="--device cuda: there are 0 such devices"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cuda:-1"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(VsudaError, match="is unknown"):
        choose_device(name)


def test_other_machines_are_refused() -> None:
    with pytest.raises(VsudaError, match="is not supported"):
        choose_device("meta")


def test_the_cpu_keeps_full_precision() -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(torch.device("cpu")):
        inside = layer(x)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, layer(x))


def test_a_cpu_repeats_its_bits_and_a_gpu_is_let_run() -> None:
    try:
        choose_algorithms(torch.device("cuda"))
        assert torch.backends.cudnn.benchmark
        assert not torch.are_deterministic_algorithms_enabled()
        choose_algorithms(torch.device("cpu"))
        assert not torch.backends.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)


def test_bf16_is_for_cuda_and_can_be_declined() -> None:
    assert autocast(torch.device("cpu"), True)._enabled is False
    assert autocast(torch.device("cuda"), False)._enabled is False


def test_the_processs_memory_grows_with_what_it_holds() -> None:
    before = peak_memory_gib(torch.device("cpu"))
    assert 0 < before < 1000
    held = torch.ones(2**26 + int(before * 2**28))
    assert peak_memory_gib(torch.device("cpu")) > before + 0.2
    del held


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
