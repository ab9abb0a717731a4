"""Initial weights from an explicit seed."""

import torch
from torch import nn

# CycleGAN draws every weight from normal(0, 0.02) and starts biases at 0; CUT starts so here too.
STANDARD_DEVIATION = 0.02

_WITH_WEIGHTS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


def initialise_normal(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of convolutions and linear layers from `generator`; biases become 0.

    The network must still be on the generator's device (the CPU), so that every device starts
    from the same weights.
    """
    for module in network.modules():
        if isinstance(module, _WITH_WEIGHTS):
            nn.init.normal_(module.weight, 0.0, STANDARD_DEVIATION, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
