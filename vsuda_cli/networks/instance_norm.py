"""Instance normalisation without learnt scale, that keeps a whole GPU busy.

Torch gives each channel of each image to one block of threads. A patch at a time of 16 to 64
channels then leaves most of a GPU idle; here each channel is split over many blocks.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Added to variances; torch's own number.
_EPSILON = 1e-5
# Blocks that keep a large GPU busy, and voxels below which a block is not worth starting.
_BLOCKS = 1024
_LEAST_VOXELS = 1024


class InstanceNorm(nn.Module):
    """`torch.nn.InstanceNorm2d` and `InstanceNorm3d` of any number of channels, split on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, X, Y[, Z]) with mean 0 and variance 1 in each channel of each image."""
        return normalise_instances(x)


def split_instance_norms(network: nn.Module) -> None:
    """Put `InstanceNorm` in the place of torch's own, which have no weights."""
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.InstanceNorm3d:
                setattr(module, name, InstanceNorm())


def normalise_instances(x: Tensor, eps: float = _EPSILON) -> Tensor:
    """Return (B, C, ...) with mean 0 and variance 1 in each channel of each image."""
    parts = chunks(x.shape[0] * x.shape[1], x[0, 0].numel())
    # A compiler finds a split of its own.
    if not x.is_cuda or parts == 1 or torch.compiler.is_compiling():
        return functional.instance_norm(x, eps=eps)
    normalised: Tensor = cast(Any, _Split).apply(x.contiguous(), eps, parts)
    return normalised


def chunks(channels: int, voxels: int) -> int:
    """Return in how many equal parts each of `channels` channels of so many voxels is split."""
    wanted = min(-(-_BLOCKS // channels), voxels // _LEAST_VOXELS)
    return next((n for n in range(wanted, 1, -1) if voxels % n == 0), 1)


class _Split(torch.autograd.Function):
    """The kernels of torch's synchronised batch normalisation, with parts as its channels."""

    @staticmethod
    def forward(context: Any, x: Tensor, eps: float, parts: int) -> Tensor:
        rows = _as_rows(x, parts)
        means, scales = (one.view(-1, parts) for one in torch.batch_norm_stats(rows, eps))
        mean = means.mean(dim=1)
        # Within the parts, and between them.
        variance = (scales**-2 - eps).mean(dim=1) + means.var(dim=1, correction=0)
        mean, scale = (_for_each(parts, one) for one in (mean, (variance + eps).rsqrt()))
        context.save_for_backward(x, mean, scale)
        context.parts = parts
        normalised = torch.batch_norm_elemt(rows, None, None, mean, scale, eps)
        # Not a view, which the ReLU that follows could not write over.
        return normalised.resize_(x.shape)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Any:
        x, mean, scale = context.saved_tensors
        parts = context.parts
        rows, gradients = _as_rows(x, parts), _as_rows(gradient.contiguous(), parts)
        sums = torch.batch_norm_backward_reduce(
            gradients, rows, mean, scale, None, True, False, False
        )[:2]
        whole = [_for_each(parts, one.view(-1, parts).sum(dim=1)) for one in sums]
        voxels = torch.full((1,), x[0, 0].numel(), dtype=torch.int32, device=x.device)
        found = torch.batch_norm_backward_elemt(
            gradients, rows, mean, scale, None, whole[0], whole[1], voxels
        )
        return found.view_as(x), None, None


def _as_rows(x: Tensor, parts: int) -> Tensor:
    """Return (B, C, ...) as one image (1, B * C * parts, voxels of a part)."""
    return x.view(1, x.shape[0] * x.shape[1] * parts, -1)


def _for_each(parts: int, values: Tensor) -> Tensor:
    """Return each channel's value for each of its parts."""
    return values[:, None].expand(-1, parts).reshape(-1)
