"""What every objective does with its losses: backward in parts, one step, learning rates."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from vsuda_cli.training import ranks

Losses = dict[str, Tensor]


def adam(
    parameters: Iterable[torch.nn.Parameter], device: torch.device, lr: float, **settings: Any
) -> torch.optim.Adam:
    """Return Adam; on a GPU its variant of one kernel, which a step's graph can hold.

    There the learning rate lies on the device: a graph reads what is set after it was recorded.
    """
    on_gpu = device.type == "cuda"
    rate = torch.tensor(lr, device=device) if on_gpu else lr
    return torch.optim.Adam(parameters, lr=rate, fused=on_gpu, capturable=on_gpu, **settings)


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Continue with a saved state, calculated as this device does whatever it was saved on.

    The learning rate stays the optimiser's own: it is set anew in each epoch.
    """
    own = optimiser.param_groups[0]
    groups = [
        {**group, **{name: own[name] for name in ("lr", "fused", "capturable")}}
        for group in state["param_groups"]
    ]
    optimiser.load_state_dict({**state, "param_groups": groups})


def parts_of(batch: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Split a batch into `count` equal parts, whose gradients are accumulated one by one."""
    if count == 1:
        return [batch]
    chunks = {name: values.chunk(count) for name, values in batch.items()}
    return [{name: values[i] for name, values in chunks.items()} for i in range(count)]


def put_together(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the batch that `parts_of` would split into `parts`."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def backward(losses: Losses, parts: int) -> Losses:
    """Add the gradients of the sum of `losses` over `parts`, and return them detached."""
    total = torch.stack(list(losses.values())).sum()
    (total / parts if parts > 1 else total).backward()
    return {name: loss.detach() for name, loss in losses.items()}


def mean_losses(parts: Sequence[Losses]) -> Losses:
    """Return each loss averaged over the parts of a batch."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


def step(optimiser: torch.optim.Optimizer, largest_norm: float) -> None:
    """Take one step on gradients averaged over the processes, scaled down to a norm; 0: as is."""
    parameters = [value for group in optimiser.param_groups for value in group["params"]]
    ranks.average_gradients(parameters)
    if largest_norm > 0:
        torch.nn.utils.clip_grad_norm_(parameters, largest_norm)
    optimiser.step()


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set one learning rate for all parameters."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
