"""A training step as one CUDA graph: recorded once, then started by a single call.

A step is thousands of kernels, see `networks/cuda_graphs.py`; what is calculated is the same.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vsuda_cli.config import Training
from vsuda_cli.errors import VsudaError
from vsuda_cli.networks.cuda_graphs import recording
from vsuda_cli.training import ranks

Tensors = dict[str, Tensor]
# (batch, draws, *constants) -> losses, all on the device and without looking at any value.
Learn = Callable[..., Tensors]

# Steps taken kernel by kernel first: libraries choose algorithms, optimisers make their state.
WARM_UP = 2


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    batch: Tensors
    draws: Tensors
    losses: Tensors


class StepGraph:
    """Calls `learn(batch, draws, *constants)`, on a GPU through a graph of its kernels.

    `batch` lies on the device, `draws` are the step's random choices, made on the CPU; their names
    and shapes never change. `constants` choose between graphs. Numbers that are no tensors are
    recorded as they are: what changes from epoch to epoch lies on the device. `generators` are the
    device's random generators, beside torch's own, that the step draws from.
    """

    def __init__(
        self,
        learn: Learn,
        settings: Training,
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self._learn, self._device, self._generators = learn, device, generators
        self._wanted = settings.cuda_graph and device.type == "cuda"
        self._recorded: dict[Hashable, _Recorded] = {}
        self._steps: dict[Hashable, int] = {}
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, batch: Tensors, draws: Tensors, *constants: Hashable) -> Tensors:
        """Take one step and return its losses, which the next step may overwrite.

        Raises VsudaError if the step cannot be recorded.
        """
        # Gradients of several processes meet in the middle of a step.
        if not self._wanted or ranks.count() > 1:
            return self._learn(batch, _moved(draws, self._device), *constants)
        self._steps[constants] = self._steps.get(constants, 0) + 1
        if self._steps[constants] <= WARM_UP:
            return self._beside(batch, _moved(draws, self._device), constants)
        if constants not in self._recorded:
            self._recorded[constants] = self._record(batch, draws, constants)
        recorded = self._recorded[constants]
        for given, kept in ((batch, recorded.batch), (draws, recorded.draws)):
            for name, value in given.items():
                kept[name].copy_(value, non_blocking=True)
        recorded.graph.replay()
        return recorded.losses

    def _beside(self, batch: Tensors, draws: Tensors, constants: tuple[Hashable, ...]) -> Tensors:
        """Take a step on the stream that is recorded later, as recording asks for."""
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            losses = self._learn(batch, draws, *constants)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return losses

    def _record(self, batch: Tensors, draws: Tensors, constants: tuple[Hashable, ...]) -> _Recorded:
        batch = {name: value.clone() for name, value in batch.items()}
        draws = {name: value.to(self._device) for name, value in draws.items()}
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        try:
            with recording(graph, self._device, stream=self._stream):
                losses = self._learn(batch, draws, *constants)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            problem = f"cannot be recorded as a CUDA graph ({first})"
            raise VsudaError(
                "the training step", problem, "add --set cuda_graph=false, also with --resume"
            ) from error
        return _Recorded(graph, batch, draws, losses)


def _moved(draws: Tensors, device: torch.device) -> Tensors:
    return {name: value.to(device, non_blocking=True) for name, value in draws.items()}
