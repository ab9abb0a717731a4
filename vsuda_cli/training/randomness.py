"""The state of all random numbers of a run, of every process that takes part in it."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from vsuda_cli.training import ranks

logger = logging.getLogger(__name__)

# Far apart, so that the seeds of two runs' processes are not easily the same.
_SEED_STRIDE = 1_000_003


def separate(streams: Sequence[torch.Generator]) -> None:
    """Give every process but the first random numbers of its own, for its share of the batches."""
    if ranks.own():
        torch.manual_seed(torch.initial_seed() + ranks.own() * _SEED_STRIDE)
        for stream in streams:
            _seed_apart(stream)


def _seed_apart(stream: torch.Generator) -> None:
    stream.manual_seed(stream.initial_seed() + ranks.own() * _SEED_STRIDE)


def state(streams: Sequence[torch.Generator], device: torch.device) -> list[Tensor]:
    """Return each generator's state, (process, byte): torch's own first, then the `streams`."""
    states = [torch.get_rng_state(), *(stream.get_state() for stream in streams)]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return [ranks.gathered(one[None]) for one in states]


def _go_on(stream: torch.Generator, state: Tensor) -> bool:
    """Continue a stream where `state` was taken and return True.

    One of a CPU cannot go on as one of a GPU, nor the other way round: it stays at its seed.
    """
    if state.numel() != stream.get_state().numel():
        return False
    stream.set_state(state)
    return True


def restore(states: list[Tensor], streams: Sequence[torch.Generator], device: torch.device) -> None:
    """Continue this process's random numbers exactly where `state` was taken."""
    # Copied: torch reads a generator's state from the start of its memory, whatever the row.
    torch_state, *others = [one[ranks.own()].clone() for one in states]
    torch.set_rng_state(torch_state)
    anew = [stream for stream, one in zip(streams, others, strict=False) if not _go_on(stream, one)]
    if anew:
        logger.warning("this run began on another kind of device: random numbers there start anew")
    for stream in anew:
        _seed_apart(stream)
    # A run that began on another kind of device has no state for this one.
    if device.type == "cuda" and len(others) > len(streams):
        torch.cuda.set_rng_state(others[-1], device)
