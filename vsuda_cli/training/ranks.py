"""Several processes that train one model together, as torchrun starts them.

Each process takes its share of every batch; after each backward pass the gradients are averaged,
so that all keep the same weights. In a single process every function here returns what it was
given, and nothing is communicated.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, distributed

from vsuda_cli.errors import VsudaError

# Waiting for others costs nothing, and a share of the cases may take days.
LONGEST = timedelta(days=30)


def launched() -> int:
    """Return how many processes torchrun started for this run; 1 without torchrun.

    Some clusters set WORLD_SIZE for every job: what torchrun started has a number too.
    """
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def join(device: torch.device, patience: timedelta | None = None) -> None:
    """Meet the other processes, if there are any; until `leave`, collective calls reach them all.

    Tensors of the CPU travel by gloo, those of a GPU by NCCL.
    """
    if launched() > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with _together():
            distributed.init_process_group(backend, timeout=patience)


def end_together() -> None:
    """Return once all processes of torchrun are here: it ends those still at work after one fails.

    For processes that have not met; without torchrun nobody is waited for.
    """
    if distributed.is_torchelastic_launched():
        join(torch.device("cpu"), LONGEST)
        wait()
        leave()


def leave() -> None:
    """Part from the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def count() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def own() -> int:
    """Return this process's number, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Tell whether this is the process that writes files and talks."""
    return own() == 0


def device_of(device: torch.device) -> torch.device:
    """Return this process's own GPU where several processes train on GPUs.

    Raises VsudaError if there is none for it, or nothing says which.
    """
    if launched() == 1 or str(device) != "cuda":
        return device
    number = os.environ.get("LOCAL_RANK")
    if number is None:
        problem = "is not set: nothing says which of this machine's GPUs is this process's"
        raise VsudaError("LOCAL_RANK", problem, "start with torchrun, or set it, from 0 on")
    local, gpus = int(number), torch.cuda.device_count()
    if local >= gpus:
        problem = f"started more processes on this machine than it has GPUs, which are {gpus}"
        raise VsudaError("torchrun", problem, "start as many, or give --device cpu")
    return torch.device("cuda", local)


@torch.no_grad()
def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, all in one message."""
    if count() == 1:
        return
    gradients = [value.grad for value in parameters if value.grad is not None]
    if not gradients:
        return
    message = torch.cat([gradient.flatten() for gradient in gradients])
    _sum(message)
    message /= count()
    for gradient, mean in zip(
        gradients, message.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def mean(values: Tensor) -> Tensor:
    """Return the mean of a detached tensor over the processes."""
    if count() == 1:
        return values
    total = values.clone()
    _sum(total)
    return total / count()


def summed(values: Tensor) -> Tensor:
    """Return the sum over the processes; gradients flow back to every process's part.

    With averaged gradients a loss of such sums gets the gradient that one process would find for
    the whole batch.
    """
    if count() == 1:
        return values
    result: Tensor = cast(Any, _Sum).apply(values)
    return result


def gathered(batch: Tensor) -> Tensor:
    """Return the processes' batches (B, ...) behind one another; detached."""
    if count() == 1:
        return batch
    batch = batch.detach().contiguous()
    parts = [torch.empty_like(batch) for _ in range(count())]
    with _together():
        distributed.all_gather(parts, batch)
    return torch.cat(parts)


def own_share(batch: Tensor) -> Tensor:
    """Return this process's part of a batch that `gathered` put together."""
    return batch.chunk(count())[own()]


def from_first(state: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the first process's state (tensors and plain values), or None, to all."""
    if count() == 1:
        return state
    message = torch.empty(0, dtype=torch.uint8)
    if is_first():
        stream = io.BytesIO()
        torch.save({"state": state}, stream)
        message = torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)
    length = torch.tensor([message.numel()])
    with _together():
        distributed.broadcast(length, 0)
        if not is_first():
            message = torch.empty(int(length), dtype=torch.uint8)
        distributed.broadcast(message, 0)
    stored = torch.load(io.BytesIO(message.numpy().tobytes()), "cpu", weights_only=True)
    received: dict[str, Any] | None = stored["state"]
    return received


def wait() -> None:
    """Return once all processes have come here."""
    if count() > 1:
        with _together():
            distributed.barrier()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        _sum(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        total = gradients[0].clone()
        _sum(total)
        return total


def _sum(values: Tensor) -> None:
    with _together():
        distributed.all_reduce(values)


@contextmanager
def _together() -> Iterator[None]:
    """Name the cause when another process does not answer any more."""
    try:
        yield
    except RuntimeError as error:
        raise VsudaError(
            f"process {os.environ.get('RANK', '0')} of {launched()}",
            "lost the connection to another process of this run, which has ended",
            "see its message; start all processes again with --resume",
        ) from error
