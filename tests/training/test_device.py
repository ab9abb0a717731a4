"""The choice of a device and of its algorithms, and the memory that was in use."""

import pytest
import torch

from vsuda_cli.errors import VsudaError
from vsuda_cli.training.device import choose_algorithms, choose_device, peak_memory_gib


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
    with pytest.raises(VsudaError, match="--device cuda:2: 2 CUDA GPUs can be seen here"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(VsudaError, match="--device cuda: 0 CUDA GPUs can be seen here"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cuda:-1"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(VsudaError, match="is unknown"):
        choose_device(name)


def test_other_machines_are_refused() -> None:
    with pytest.raises(VsudaError, match="is not supported"):
        choose_device("meta")


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


def test_the_processs_memory_grows_with_what_it_holds() -> None:
    before = peak_memory_gib(torch.device("cpu"))
    assert 0 < before < 1000
    held = torch.ones(2**26 + int(before * 2**28))
    assert peak_memory_gib(torch.device("cpu")) > before + 0.2
    del held
