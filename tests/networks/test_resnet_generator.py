"""The translation network: its size, its numbered layers, and every shape of image."""

import pytest
import torch
from torch import Tensor, nn

from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.initialisation import initialise_normal
from vsuda_cli.networks.instance_norm import InstanceNorm
from vsuda_cli.networks.padding import crop, margins_to_multiple, pad_reflect
from vsuda_cli.networks.resnet_generator import ResidualBlock, ResnetGenerator
from vsuda_cli.training.translation import build_generator

CUT_LAYERS = (0, 4, 8, 12, 16)


def small(dims: int, antialias: bool = False, blocks: int = 5) -> ResnetGenerator:
    network = ResnetGenerator(dims, base_channels=2, blocks=blocks, antialias=antialias)
    initialise_normal(network, torch.Generator().manual_seed(1))
    return network


def image(*size: int) -> Tensor:
    return torch.rand((1, 1, *size), generator=torch.Generator().manual_seed(2))


def parameter_count(dims: int, method: str) -> int:
    with torch.device("meta"):
        network = build_generator(TranslationSettings(dims=dims, method=method))
    return sum(p.numel() for p in network.parameters())


def count_by_hand(images: int, outer: int, inner: int) -> int:
    """Weights and biases of ResNet-9 at base 64, for kernels of `outer` and `inner` voxels."""
    return (
        (images * 64 * outer + 64)
        + (64 * 128 * inner + 128)
        + (128 * 256 * inner + 256)
        + 9 * 2 * (256 * 256 * inner + 256)
        + (256 * 128 * inner + 128)
        + (128 * 64 * inner + 64)
        + (64 * images * outer + images)
    )


def test_parameter_counts() -> None:
    assert count_by_hand(1, 49, 9) == 11_365_633
    assert count_by_hand(3, 49, 9) == 11_378_179  # the 11.378 million of CycleGAN: colour images
    for method in ("cyclegan", "cut"):
        assert parameter_count(2, method) == 11_365_633
        assert parameter_count(3, method) == count_by_hand(1, 7 * 7 * 3, 27)


def test_layers_stand_in_the_order_of_cut() -> None:
    names = [type(layer).__name__ for layer in small(2, antialias=True, blocks=9).layers]
    assert names == [
        *("ReflectionPad", "Conv2d", "InstanceNorm", "ReLU"),
        *("Conv2d", "InstanceNorm", "ReLU", "BlurDown") * 2,
        *("ResidualBlock",) * 9,
        *("BlurUp", "Conv2d", "InstanceNorm", "ReLU") * 2,
        *("ReflectionPad", "Conv2d", "Tanh"),
    ]
    names = [type(layer).__name__ for layer in small(3, blocks=9).layers]
    assert names == [
        *("ReflectionPad", "Conv3d", "InstanceNorm", "ReLU"),
        *("Conv3d", "InstanceNorm", "ReLU", "Identity") * 2,
        *("ResidualBlock",) * 9,
        *("ConvTranspose3d", "InstanceNorm", "ReLU") * 2,
        *("ReflectionPad", "Conv3d", "Tanh"),
    ]


def test_kernels_and_strides_in_three_dimensions() -> None:
    convolutions = [
        m for m in small(3, blocks=1).modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)
    ]
    assert [c.kernel_size for c in convolutions] == [(7, 7, 3), *((3, 3, 3),) * 6, (7, 7, 3)]
    halved = (2, 2, 1)
    assert [c.stride for c in convolutions] == [
        *((1, 1, 1), halved, halved),
        *((1, 1, 1), (1, 1, 1), halved, halved, (1, 1, 1)),
    ]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(
    "size",
    [(16, 16), (17, 22), (9, 11), (5, 8), (12, 12, 1), (13, 10, 1), (11, 14, 8), (5, 6, 2)],
)
def test_output_has_the_size_and_range_of_the_input(antialias, size) -> None:
    x = image(*size)
    y = small(len(size), antialias)(x)
    assert y.shape == x.shape
    assert y.min() >= 0 and y.max() <= 1
    assert y.std() > 0


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(17, 22), (11, 14, 3)])
def test_padding_is_a_mirror_and_is_cropped_again(antialias, size) -> None:
    network, x = small(len(size), antialias), image(*size)
    margins = margins_to_multiple(size, (4, 4, 1)[: len(size)])
    padded = pad_reflect(x, margins)
    assert all(n % 4 == 0 for n in padded.shape[2:4])
    torch.testing.assert_close(network(x), crop(network(padded), margins))


def test_a_slab_of_one_slice_sees_its_repeated_slice() -> None:
    network, x = small(3, blocks=0), image(12, 12, 1)
    first = network.layers[1]
    flat = nn.functional.conv2d(
        pad_reflect(2 * x[..., 0] - 1, ((3, 3), (3, 3))), first.weight.sum(-1), first.bias
    )
    torch.testing.assert_close(network.encode(x, [1])[0][..., 0], flat)


def test_inside_intensities_run_from_minus_one_to_one() -> None:
    network, x = small(2), image(12, 8)
    padded = network.encode(x, [0])[0]
    assert torch.equal(padded[..., 3:-3, 3:-3], 2 * x - 1)
    network.layers[-2].bias.data.fill_(100.0)  # drives tanh to its end
    assert torch.equal(network(x), torch.ones_like(x))


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(16, 20), (13, 18), (10, 12, 1), (12, 9, 8)])
def test_encode_equals_the_features_of_the_whole_pass(antialias, size) -> None:
    network, x = small(len(size), antialias), image(*size)
    for layers in (CUT_LAYERS, tuple(range(17)), (16, 2), (5,)):
        y, features = network.forward_with_features(x, layers)
        encoded = network.encode(x, layers)
        assert len(encoded) == len(features) == len(layers)
        assert all(torch.equal(a, b) for a, b in zip(encoded, features, strict=True))
        assert torch.equal(y, network(x))
        assert [f.shape[1] for f in features] == network.feature_channels(layers)


@pytest.mark.parametrize("antialias", [False, True])
def test_a_layer_is_what_it_is_whatever_runs_after_it(antialias) -> None:
    network, x = small(2, antialias), image(16, 12)
    _, together = network.forward_with_features(x, range(17))
    y = 2 * x - 1
    for number, feature in enumerate(together):
        y = network.layers[number](y.clone())  # a copy, since ReLU works in place
        assert torch.equal(feature, y)


@pytest.mark.parametrize("number", [2, 5, 9])
def test_a_feature_before_a_relu_has_negative_values(number) -> None:
    _, [feature] = small(2).forward_with_features(image(16, 12), [number])
    assert feature.min() < 0
    feature.square().mean().backward()


def test_feature_grids_of_cut() -> None:
    network = ResnetGenerator(2, base_channels=8, blocks=9, antialias=True)
    features = network.encode(image(32, 24), CUT_LAYERS)
    assert [tuple(f.shape[1:]) for f in features] == [
        (1, 38, 30),
        (16, 32, 24),
        (32, 16, 12),
        (32, 8, 6),
        (32, 8, 6),
    ]
    assert network.feature_channels(CUT_LAYERS) == [1, 16, 32, 32, 32]


def test_layers_past_the_encoder_are_refused() -> None:
    network = small(2, blocks=3)
    assert network.feature_channels([14]) == [8]
    for number in (15, -1):
        for call in (network.encode, network.forward_with_features):
            with pytest.raises(ValueError, match="layers end at 14 with 3"):
                call(image(8, 8), [number])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_residual_block_adds_to_its_input(dims) -> None:
    block = ResidualBlock(dims, 4)
    x = torch.rand((1, 4, *(6, 5, 1)[:dims]), generator=torch.Generator().manual_seed(0))
    before = x.clone()
    torch.testing.assert_close(block(x), before + block.body(before))
    assert torch.equal(x, before)
    for layer in block.body:
        if hasattr(layer, "padding"):
            assert set(layer.padding) == {0}  # borders are mirrored, never zero


def test_gradients_reach_every_weight() -> None:
    for dims in (2, 3):
        network = small(dims, blocks=1)
        network(image(*(12, 12, 2)[:dims]))[..., 1:].square().sum().backward()
        weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_a_voxel_of_resnet_9_sees_what_its_kernels_and_strides_say() -> None:
    network = ResnetGenerator(2, base_channels=2, blocks=9)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    network.layers = nn.ModuleList(
        nn.Identity() if isinstance(layer, InstanceNorm | nn.Tanh) else layer
        for layer in network.layers
    )
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            block.body = nn.Sequential(
                *(nn.Identity() if isinstance(m, InstanceNorm) else m for m in block.body)
            )
    x = torch.ones((1, 1, 256, 256), dtype=torch.float64, requires_grad=True)
    network.double()(x)[0, 0, 128, 128].backward()
    seen = x.grad[0, 0].abs().sum(0).nonzero().flatten()
    # Backwards from voxel 128: 7 x 7 reaches 125..131; two transposed convolutions of 3 with stride
    # 2, 62..66 and 31..33; 18 convolutions of 3, 13..51; two strided ones, 25..103 and 49..207.
    assert (int(seen.min()), int(seen.max())) == (46, 210)
