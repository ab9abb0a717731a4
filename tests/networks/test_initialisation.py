"""Initial weights: their distribution, and nothing but the seed decides them."""

import torch
from torch import nn

from vsuda_cli.networks.initialisation import initialise_normal
from vsuda_cli.networks.patch_discriminator import PatchDiscriminator
from vsuda_cli.networks.patch_projector import PatchProjector
from vsuda_cli.networks.resnet_generator import ResnetGenerator


def networks() -> list[nn.Module]:
    return [
        ResnetGenerator(2, base_channels=16, blocks=2),
        ResnetGenerator(3, base_channels=16, blocks=1),
        PatchDiscriminator(2, base_channels=16, layers=3),
        PatchProjector([16, 64], width=256),
    ]


def drawn(seed: int) -> list[dict[str, torch.Tensor]]:
    states = []
    for network in networks():
        initialise_normal(network, torch.Generator().manual_seed(seed))
        states.append(network.state_dict())
    return states


def test_weights_are_normal_with_deviation_two_hundredths_and_biases_zero() -> None:
    for state in drawn(0):
        weights = torch.cat([v.flatten() for k, v in state.items() if k.endswith("weight")])
        biases = torch.cat([v.flatten() for k, v in state.items() if k.endswith("bias")])
        assert weights.numel() + biases.numel() == sum(v.numel() for v in state.values())
        assert not biases.any()
        assert abs(weights.mean().item()) < 5 * 0.02 / weights.numel() ** 0.5
        assert abs(weights.std().item() - 0.02) < 5 * 0.02 / (2 * weights.numel()) ** 0.5
        within = (weights.abs() < 0.02).double().mean().item()
        assert abs(within - 0.6827) < 0.01  # a normal's share within one deviation


def test_the_seed_alone_decides_drawn_weights() -> None:
    first = drawn(1)
    torch.rand(7)
    again, other = drawn(1), drawn(2)
    for a, b, c in zip(first, again, other, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
        assert all(not torch.equal(a[key], c[key]) for key in a if key.endswith("weight"))


def test_every_layer_kind_is_drawn() -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 1, 3),
        nn.Conv3d(1, 1, 3, bias=False),
        nn.ConvTranspose2d(1, 1, 3),
        nn.ConvTranspose3d(1, 1, 3),
        nn.Linear(3, 3),
        nn.PReLU(),
    )
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 9.0)
    initialise_normal(layers, torch.Generator().manual_seed(0))
    for layer in layers[:5]:
        assert layer.weight.abs().max() < 0.2
    assert layers[5].weight.item() == 9.0
