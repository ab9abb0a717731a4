"""Recorded passes: as they are on a CPU; on a GPU the same values, for as many shapes as come."""

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from vsuda_cli.networks import cuda_graphs
from vsuda_cli.networks.cuda_graphs import Recorded, recording

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_on_a_cpu_every_pass_is_the_networks_own() -> None:
    network = nn.Conv3d(1, 2, 3, padding=1)
    recorded = Recorded(network, 1, CPU)
    x = torch.rand((1, 1, 6, 5, 4))
    for _ in range(3):
        found = recorded(x)
        assert torch.equal(found, network(x))
        assert not found.requires_grad


@pytest.mark.parametrize("collecting", [True, False])
def test_no_garbage_is_collected_while_recording_on_the_device(
    monkeypatch: pytest.MonkeyPatch, collecting: bool
) -> None:
    told: list[object] = []

    class Graph:
        def __init__(self, graph: object, **how: object) -> None:
            told.append((graph, how))

        def __enter__(self) -> None:
            told.append(gc.isenabled())

        def __exit__(self, *error: object) -> None:
            told.append(gc.isenabled())

    @contextmanager
    def current(device: torch.device) -> Iterator[None]:
        told.append(device)
        yield
        told.append("before")

    monkeypatch.setattr(torch.cuda, "graph", Graph)
    monkeypatch.setattr(torch.cuda, "device", current)
    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        with recording("the graph", "the device", stream=3):  # type: ignore[arg-type]
            pass
        assert told == ["the device", ("the graph", {"stream": 3}), False, False, "before"]
        assert gc.isenabled() is collecting
        with (
            pytest.raises(ValueError, match="inside"),
            recording("the graph", "the device"),  # type: ignore[arg-type]
        ):
            raise ValueError("inside")
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()


class Replays:
    """Stands in for a recorded pass: on replay the network sees what `given` holds by then."""

    def __init__(self, network: Callable[[Tensor], Tensor], given: Tensor) -> None:
        self.given, self.found = given.clone(), network(given)
        self.graph, self.count = self, 0
        self._network = network

    def replay(self) -> None:
        self.count += 1
        self.found.copy_(self._network(self.given))


def recorded_by(network: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded(network, 1, torch.device("cuda"))
    monkeypatch.setattr(recorded, "_record", lambda x: Replays(network, x))
    return recorded


def test_a_shape_that_comes_again_is_recorded_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_SHAPES", 2)
    monkeypatch.setattr(cuda_graphs, "MOST_BYTES", 30)
    recorded = recorded_by(lambda x: 2 * x, monkeypatch)
    inputs = [n + torch.zeros(size) for n, size in enumerate([5, 5, 6, 5, 7, 7, 6, 31, 31])]
    found = [recorded(x) for x in inputs]
    for x, y in zip(inputs, found, strict=True):
        assert torch.equal(y, 2 * x)
    counts = {shape[0]: kept.count for shape, kept in recorded._passes.items()}
    # One too many is not recorded, nor what takes too much memory.
    assert counts == {5: 2, 6: 1}


def test_what_a_network_takes_at_once_is_what_needs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_BYTES", 30)
    recorded = recorded_by(lambda x: 2 * x, monkeypatch)
    for size, at_once in ((40, 20), (29, 31), (42, None)):
        recorded(torch.zeros(size), at_once)
    assert list(recorded._passes) == [(40,)]


def test_what_runs_out_of_memory_is_tried_once_more_without_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def needs_what_graphs_hold(x: Tensor) -> Tensor:
        tried.append(x.numel())
        if x.numel() > 8 or (x.numel() > 6 and any(recorded._passes.values())):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 2 * x

    monkeypatch.setattr(cuda_graphs, "MOST_BYTES", 6)
    recorded = recorded_by(needs_what_graphs_hold, monkeypatch)
    for _ in range(2):
        recorded(torch.zeros(5))
    assert recorded._passes
    tried.clear()
    assert torch.equal(recorded(torch.ones(7)), 2 * torch.ones(7))
    assert tried == [7, 7]
    assert not recorded._passes
    with pytest.raises(torch.OutOfMemoryError):
        recorded(torch.zeros(9))
    assert tried == [7, 7, 9]


def test_passes_are_recorded_on_the_networks_device_and_share_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[dict[str, object]] = []

    class Graph:
        def pool(self) -> str:
            return "the first one's"

        def replay(self) -> None:
            pass

    @contextmanager
    def told_of(graph: object, device: object, **how: object) -> Iterator[None]:
        told.append({"device": device, **how})
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: [device])
    monkeypatch.setattr(cuda_graphs, "recording", told_of)
    recorded = Recorded(lambda x: 2 * x, 1, torch.device("cuda:1"))
    for size in (5, 5, 6, 6):
        recorded(torch.zeros(size))
    # Memory of a pool is free again for the stream alone that it was used on.
    assert told[0]["stream"] is told[1]["stream"]
    assert told[0]["stream"] == [torch.device("cuda:1")]
    assert [how["device"] for how in told] == [torch.device("cuda:1")] * 2
    assert [how.get("pool") for how in told] == [None, "the first one's"]


def test_other_failures_of_recording_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = Recorded(lambda x: 2 * x, 1, torch.device("cuda"))

    def fail(x: Tensor) -> Tensor:
        raise RuntimeError("not permitted\nsee elsewhere")

    monkeypatch.setattr(recorded, "_record", fail)
    with caplog.at_level("WARNING", logger="vsuda_cli"):
        for _ in range(4):
            assert torch.equal(recorded(torch.ones(3)), 2 * torch.ones(3))
    (record,) = caplog.records
    assert record.getMessage().startswith("no CUDA graph of a pass (not permitted):")


def passes(network: nn.Module, recorded: Recorded, shapes: list[tuple[int, ...]]) -> None:
    source = torch.Generator().manual_seed(0)
    kept: list[tuple[Tensor, Tensor]] = []
    for shape in shapes:
        # Doubles: floats are rounded to 10 bits in some of a GPU's convolutions.
        x = torch.rand(shape, generator=source).cuda().double()
        with torch.no_grad():
            kept.append((recorded(x), network(x)))
    # After all of them: none was written over.
    for found, wanted in kept:
        torch.testing.assert_close(found, wanted)


@needs_gpu
def test_on_a_gpu_shapes_that_come_again_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "MOST_SHAPES", 2)
    network = nn.Sequential(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Conv3d(8, 2, 3)).cuda().double()
    recorded = Recorded(network, 1, torch.device("cuda"))
    a, b, c = (1, 1, 12, 12, 8), (2, 1, 12, 12, 8), (1, 1, 9, 12, 8)
    passes(network, recorded, [a, a, a, b, c, b, c, a, c, b])
    assert {shape: kept is not None for shape, kept in recorded._passes.items()} == {
        a: True,
        b: True,
    }
    monkeypatch.setattr(cuda_graphs, "MOST_BYTES", 100)
    large = Recorded(network, 1, torch.device("cuda"))
    passes(network, large, [a, a, a])
    assert not large._passes


@needs_gpu
def test_graphs_left_in_garbage_do_not_end_a_recording() -> None:
    network = nn.Conv3d(1, 2, 3).cuda().double()
    before = gc.get_threshold()
    try:
        # Every allocation collects.
        gc.set_threshold(1, 1, 1)
        for _ in range(3):
            recorded = Recorded(network, 1, torch.device("cuda"))
            recorded.itself = recorded  # type: ignore[attr-defined]
            passes(network, recorded, [(1, 1, 8, 8, 8)] * 3)
    finally:
        gc.set_threshold(*before)


# A failed recording leaves the process's random numbers on the device unusable: in one of its own.
LOOKS_AT_A_VALUE = """
import logging, torch
from vsuda_cli.networks.cuda_graphs import Recorded

logging.basicConfig()
network = lambda x: x * float(x.sum())
recorded = Recorded(network, 1, torch.device("cuda"))
x = torch.rand((1, 1, 4, 4, 4), device="cuda")
for _ in range(4):
    torch.testing.assert_close(recorded(x), network(x))
"""


@needs_gpu
def test_what_cannot_be_recorded_goes_on_as_it_is() -> None:
    words = [sys.executable, "-c", LOOKS_AT_A_VALUE]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stderr.count("kernel by kernel") == 1
