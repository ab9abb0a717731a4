"""How networks calculate: bf16 on CUDA, full precision elsewhere; layouts and compiled blocks."""

from typing import TypeVar

import torch

from vsuda_cli.config import Training

Network = TypeVar("Network", bound=torch.nn.Module)

# What is compiled: the parts in which nearly all time is spent, the generator's blocks and the
# U-Net's. By name: importing MONAI takes longer than importing torch, and translation does not need
# it.
_BLOCKS = ("ResidualBlock", "ResidualUnit")


def autocast(device: torch.device, wanted: bool) -> torch.autocast:
    """Return a context for forward passes: bf16 needs no loss scaling and keeps float's range."""
    mixed = wanted and device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)


def made_fast(network: Network, settings: Training) -> Network:
    """Change a network, already on its device, to channels-last and compiled blocks if so set.

    Weights keep their names: blocks are compiled in place, one after another, so that those of the
    same shape share one compilation.
    """
    if settings.channels_last:
        # Other weights than convolutions' have no channels to put last.
        layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        for value in network.parameters():
            if value.ndim in layouts:
                value.data = value.data.contiguous(memory_format=layouts[value.ndim])
    if settings.compile_blocks:
        # A compilation for each shape that a network has, of which a U-Net has more than eight.
        torch._dynamo.config.recompile_limit = 64
        # On a GPU torch 2.11 fails in this fusion at the U-Net: "AssertionError: 1 v.s. 16".
        from torch._inductor import config as inductor

        inductor.triton.mix_order_reduction = False
        for block in network.modules():
            if type(block).__name__ in _BLOCKS:
                block.compile()
    return network
