"""Kernels recorded as a CUDA graph, to be started by a single call.

Small networks are hundreds of kernels of a few microseconds, and the CPU takes longer to start them
than the GPU to run them, the more so where other threads want the interpreter between two of them.
"""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# What a recorded pass may hold of the device's memory, which nothing else can use meanwhile.
MOST_BYTES = 2**30
# Shapes that are recorded; those of further ones start kernel by kernel.
MOST_SHAPES = 16


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, device: torch.device, **how: Any) -> Iterator[None]:
    """Record what is started inside on `device` into `graph`; `how` goes to `torch.cuda.graph`.

    Meanwhile no garbage is collected: a graph that is found in it is destroyed there and then, and
    that ends a recording.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        # Torch waits for the current device first, which may be another one, of somebody else.
        with torch.cuda.device(device), torch.cuda.graph(graph, **how):
            yield
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True)
class _Pass:
    graph: torch.cuda.CUDAGraph
    given: Tensor
    found: Tensor


class Recorded:
    """A network's passes without gradients, on a GPU recorded for shapes that come again.

    `bytes_a_voxel` is the memory that a pass takes for each voxel of its input. One thread at a
    time may call it.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], bytes_a_voxel: int, device: torch.device
    ) -> None:
        self._network, self._bytes_a_voxel, self._device = network, bytes_a_voxel, device
        # None: seen once.
        self._passes: dict[torch.Size, _Pass | None] = {}
        self._stream: torch.cuda.Stream | None = None
        self._wanted = device.type == "cuda"

    @torch.no_grad()
    def __call__(self, x: Tensor, voxels: int | None = None) -> Tensor:
        """Return the network's output for an input on the device.

        The network takes `voxels` of it at once; all, if not said otherwise.
        """
        at_once = x.numel() if voxels is None else voxels
        if not self._wanted or at_once * self._bytes_a_voxel > MOST_BYTES:
            passed = self._network
        else:
            passed = self._replayed
        try:
            return passed(x)
        except torch.OutOfMemoryError:
            if not self._recorded():
                raise
        # What the recordings held may be what was missing.
        self._passes.clear()
        return self._network(x)

    def _replayed(self, x: Tensor) -> Tensor:
        if x.shape not in self._passes:
            # The first time libraries choose their algorithms, which a recording cannot hold.
            if len(self._passes) < MOST_SHAPES:
                self._passes[x.shape] = None
            return self._network(x)
        kept = self._passes[x.shape]
        if kept is None:
            try:
                kept = self._passes[x.shape] = self._record(x)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._wanted = False
                first = str(error).splitlines()[0]
                logger.warning("no CUDA graph of a pass (%s): going on kernel by kernel", first)
                return self._network(x)
        kept.given.copy_(x)
        kept.graph.replay()
        # The next pass writes over it.
        return kept.found.clone()

    def _recorded(self) -> list[_Pass]:
        return [kept for kept in self._passes.values() if kept is not None]

    def _record(self, x: Tensor) -> _Pass:
        given, graph = x.clone(), torch.cuda.CUDAGraph()
        if self._stream is None:
            # On the network's own device, which need not be the current one.
            self._stream = torch.cuda.Stream(self._device)
        how: dict[str, Any] = {"stream": self._stream}
        # Passes run one after another, so all may use the same memory for what lies between; what
        # was used on one stream is free for that one alone.
        if before := self._recorded():
            how["pool"] = before[0].graph.pool()
        # Other threads may go on using the device.
        with recording(graph, self._device, capture_error_mode="thread_local", **how):
            found = self._network(given)
        return _Pass(graph, given, found)
