"""Instance normalisation: torch's own on a CPU, and the same numbers where a GPU splits it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vsuda_cli.networks import instance_norm
from vsuda_cli.networks.instance_norm import (
    InstanceNorm,
    chunks,
    normalise_instances,
    split_instance_norms,
)

EPS = 1e-5


def image(*shape: int) -> Tensor:
    source = torch.Generator().manual_seed(0)
    # Channels of different means and spreads.
    scale = 10 ** torch.linspace(-2, 1, shape[1]).view(1, -1, *(1,) * (len(shape) - 2))
    return scale * (torch.randn(shape, generator=source) + 3)


def test_on_a_cpu_it_is_torchs_own() -> None:
    plane, volume = image(2, 3, 5, 4), image(2, 3, 5, 4, 2)
    assert torch.equal(InstanceNorm()(plane), nn.InstanceNorm2d(3)(plane))
    assert torch.equal(InstanceNorm()(volume), nn.InstanceNorm3d(3)(volume))


@pytest.mark.parametrize("dims", [2, 3])
def test_normalisation_is_of_each_image_and_channel_alone(dims: int) -> None:
    x = torch.rand(2, 3, *(6, 5, 4)[:dims], generator=torch.Generator().manual_seed(0))
    layer = InstanceNorm()
    y = layer(x).flatten(2)
    assert torch.allclose(y.mean(2), torch.zeros(2, 3), atol=1e-5)
    assert torch.allclose(y.var(2, correction=0), torch.ones(2, 3), atol=1e-3)
    assert torch.equal(layer(x), layer.eval()(x))  # no running statistics
    assert not layer.state_dict()


@pytest.mark.parametrize(
    ("channels", "voxels", "parts"),
    # Enough blocks, parts not too small, and of one size.
    [
        (16, 160 * 160 * 32, 64),
        (64, 160 * 160, 16),
        (256, 40 * 40, 1),
        (2048, 10**6, 1),
        (4, 997, 1),
    ],
)
def test_in_how_many_parts_a_channel_is_split(channels: int, voxels: int, parts: int) -> None:
    assert chunks(channels, voxels) == parts
    assert voxels % parts == 0


def test_torchs_layers_are_replaced_and_nothing_else() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Sequential(nn.InstanceNorm3d(2), nn.PReLU()))
    before = network.state_dict()
    split_instance_norms(network)
    assert type(network[1][0]) is InstanceNorm
    assert network.state_dict().keys() == before.keys()


# What torch has for GPUs alone, after its documentation of batch normalisation.
def stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, (0, 2), correction=0)
    return mean, (variance + eps).rsqrt()


def elemt(x: Tensor, weight: None, bias: None, mean: Tensor, scale: Tensor, eps: float) -> Tensor:
    return (x - mean.view(1, -1, 1)) * scale.view(1, -1, 1)


def reduce(g: Tensor, x: Tensor, mean: Tensor, scale: Tensor, *others: object) -> list[Tensor]:
    return [g.sum((0, 2)), (g * (x - mean.view(1, -1, 1))).sum((0, 2))]


def backward_elemt(
    g: Tensor, x: Tensor, mean: Tensor, scale: Tensor, weight: None, *sums: Tensor
) -> Tensor:
    mean, scale, own, with_x = (one.view(1, -1, 1) for one in (mean, scale, *sums[:2]))
    count = sums[2]
    return (g - own / count - (x - mean) * scale**2 * with_x / count) * scale


@pytest.mark.parametrize("shape", [(1, 3, 16, 8), (2, 2, 4, 6, 8)])
def test_split_it_has_the_same_values_and_gradients(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, known in (
        ("stats", stats),
        ("elemt", elemt),
        ("backward_reduce", reduce),
        ("backward_elemt", backward_elemt),
    ):
        monkeypatch.setattr(torch, f"batch_norm_{name}", known)
    x = image(*shape).double().requires_grad_()
    # Written over, as by the activations that follow it in the networks.
    found = instance_norm._Split.apply(x, EPS, 8).relu_()
    wanted = functional.instance_norm(x, eps=EPS).relu()
    torch.testing.assert_close(found, wanted)
    weights = image(*shape).double().flip(2)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, wanted)]
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 16, 160, 160, 32), (1, 64, 160, 160), (2, 3, 33, 64, 8)])
def test_on_a_gpu_it_is_as_exact_as_torchs_own(shape: tuple[int, ...], kind: torch.dtype) -> None:
    x = image(*shape).cuda().to(kind)
    precise = x.double().requires_grad_()
    normalised = functional.instance_norm(precise, eps=EPS)
    wanted = normalised.relu()
    # Rounding alone decides whether the gradient passes where values are next to 0.
    weights = image(*shape).cuda().flip(2) * (normalised.detach().abs() > 0.05)
    (slope,) = torch.autograd.grad((wanted * weights).sum(), precise)
    errors = []
    for normalise in (functional.instance_norm, normalise_instances):
        y = x.clone().requires_grad_()
        found = normalise(y, eps=EPS).relu_()
        (gradient,) = torch.autograd.grad((found.float() * weights).sum(), y)
        errors.append(
            [(found - wanted).norm() / wanted.norm(), (gradient - slope).norm() / slope.norm()]
        )
    for torchs, ours in zip(*errors, strict=True):
        assert ours < 1.5 * torchs + 1e-6
