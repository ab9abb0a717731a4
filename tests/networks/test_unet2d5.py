"""The 2.5D U-Net: its levels, its attention maps and their targets, and every size of volume."""

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vsuda_cli.config import UNet
from vsuda_cli.networks.instance_norm import InstanceNorm
from vsuda_cli.networks.padding import crop, margins_to_multiple, pad_replicate
from vsuda_cli.networks.unet2d5 import Attention, UNet2d5
from vsuda_cli.training.segmenter import build_unet

CHANNELS = (16, 32, 48, 64, 80, 96)
IN_PLANE, CUBE = (3, 3, 1), (3, 3, 3)
KERNELS = (IN_PLANE, IN_PLANE, CUBE, CUBE, CUBE, CUBE)
STRIDES = ((2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))


def unet(class_count: int = 3, **changes: Any) -> UNet2d5:
    """Return the network of the default settings but for the `changes`."""
    return build_unet(dataclasses.replace(UNet(), **changes), class_count)


@pytest.fixture(scope="module")
def paper() -> UNet2d5:
    return unet().eval()


def small() -> UNet2d5:
    """Three levels whose padding is to multiples of (4, 4, 2)."""
    return unet(
        channels=(2, 4, 6), kernels=(IN_PLANE, CUBE, CUBE), strides=((2, 2, 1), (2, 2, 2))
    ).eval()


def image(*size: int) -> Tensor:
    return torch.rand((1, 1, *size), generator=torch.Generator().manual_seed(5))


def shapes_by_hand() -> dict[str, list[tuple[int, ...]]]:
    """Return the kernels' shapes of each part, as the paper describes it."""
    one = (1, 1, 1)
    shapes: dict[str, list[tuple[int, ...]]] = {}
    before = 1
    for i, (here, below) in enumerate(pairwise(CHANNELS)):
        k = KERNELS[i]
        out = 3 if i == 0 else here
        shapes[f"down.{i}"] = [(here, before, *k), (here, here, *k), (here, before, *one)]
        shapes[f"reduce.{i}"] = [(here, here, *k)]
        shapes[f"enlarge.{i}"] = [(below, here, *k)]  # transposed: input channels first
        shapes[f"attention.{i}"] = [(here, 2 * here, *k), (1, here, *k)]
        shapes[f"up.{i}"] = [(out, 2 * here, *k), (out, 2 * here, *one)]
        before = here
    shapes["bottom_attention"] = [(40, 80, *CUBE), (1, 40, *CUBE)]
    shapes["bottom"] = [(96, 80, *CUBE), (96, 96, *CUBE), (96, 80, *one)]
    return shapes


def part(network: UNet2d5, name: str) -> nn.Module:
    return network.get_submodule(name)


def test_levels_and_kernel_shapes(paper) -> None:
    expected = shapes_by_hand()
    for name, shapes in expected.items():
        found = [tuple(p.shape) for p in part(paper, name).parameters() if p.ndim == 5]
        assert found == shapes, name
    count = sum(1 for p in paper.parameters() if p.ndim == 5)
    assert count == sum(len(shapes) for shapes in expected.values())


def test_parameter_count(paper) -> None:
    weights = biases = 0
    for name, shapes in shapes_by_hand().items():
        for shape in shapes:
            weights += int(np.prod(shape))
            biases += shape[1] if name.startswith("enlarge") else shape[0]
    # One PReLU slope after each convolution, but none in the attention and after the logits.
    slopes = 5 * 2 + 5 + 5 + 4 + 2
    assert weights + biases + slopes == 3_450_582
    assert sum(p.numel() for p in paper.parameters()) == 3_450_582


def test_strides_normalisation_and_dropout(paper) -> None:
    for i, stride in enumerate(STRIDES):
        assert part(paper, f"reduce.{i}.conv").stride == stride
        up = part(paper, f"enlarge.{i}.conv")
        assert isinstance(up, nn.ConvTranspose3d) and up.stride == stride
    assert paper.total_stride == (32, 32, 8)
    for name in ("down.0", "down.4", "reduce.1", "enlarge.2", "up.3", "bottom"):
        kinds = {type(m) for m in part(paper, name).modules()}
        assert {InstanceNorm, nn.PReLU, nn.Dropout} <= kinds, name
    rates = {m.p for m in paper.modules() if isinstance(m, nn.Dropout)}
    assert rates == {0.1}
    # Nothing is dropped, bent or normalised after the last convolution.
    assert {type(m) for m in part(paper, "up.0").modules()}.isdisjoint(
        {InstanceNorm, nn.PReLU, nn.Dropout}
    )


def test_dropout_works_in_training_only() -> None:
    network, x = small(), image(8, 8, 4)
    assert torch.equal(network(x), network(x))
    network.train()
    torch.manual_seed(0)
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("size", [(64, 64, 16), (45, 37, 11), (64, 32, 1), (20, 33, 8), (1, 1, 1)])
def test_any_size_of_the_paper_network(paper, size) -> None:
    x = image(*size)
    with torch.no_grad():
        logits, maps = paper.forward_with_attention(x)
    assert logits.shape == (1, 3, *size)
    assert torch.isfinite(logits).all()
    padded = [-(-n // m) * m for n, m in zip(size, (32, 32, 8), strict=True)]
    if padded == [32, 32, 8]:
        padded[0] = 64  # instance normalisation needs two voxels at the bottom
    expected = [tuple(padded)]
    for stride in STRIDES:
        expected.append(tuple(n // s for n, s in zip(expected[-1], stride, strict=True)))
    assert len(maps) == 6  # five decoder levels and the bottom
    assert [tuple(m.shape) for m in maps] == [(1, 1, *shape) for shape in expected]
    for weights in maps:
        assert weights.min() >= 0 and weights.max() <= 1
    targets = paper.attention_targets(torch.ones(1, 1, *size))
    assert [t.shape for t in targets] == [m.shape for m in maps]


def test_smallest_volume_can_be_trained_on() -> None:
    network = unet()
    network(image(30, 32, 8)).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("size", [(13, 10, 5), (9, 7, 1), (8, 8, 4)])
def test_padding_repeats_the_border_and_is_cropped_again(size) -> None:
    network, x = small(), image(*size)
    margins = margins_to_multiple(size, (4, 4, 2))
    padded = pad_replicate(x, margins)
    torch.testing.assert_close(network(x), crop(network(padded), margins))


def test_forward_is_the_first_of_forward_with_attention() -> None:
    network, x = small(), image(9, 8, 3)
    assert torch.equal(network(x), network.forward_with_attention(x)[0])


def test_attention_scales_features_by_one_plus_weight() -> None:
    layer = Attention(4, IN_PLANE)
    x = torch.randn((2, 4, 5, 6, 3), generator=torch.Generator().manual_seed(1))
    scaled, weights = layer(x)
    assert weights.shape == (2, 1, 5, 6, 3)
    first, second = (layer.weigh[i].conv for i in (0, 1))
    torch.testing.assert_close(weights, torch.sigmoid(second(torch.relu(first(x)))))
    torch.testing.assert_close(scaled, x * (1 + weights))


def test_maps_are_finest_first_and_each_trains_its_own_weights() -> None:
    network = small()
    _, maps = network.forward_with_attention(image(8, 8, 4))
    layers = [*network.attention, network.bottom_attention]
    for level, layer in enumerate(layers):
        # The last convolution's bias belongs to one map; finer maps depend on it further down.
        bias = layer.weigh[1].conv.bias
        gradients = [
            torch.autograd.grad(m.sum(), bias, retain_graph=True, allow_unused=True)[0]
            for m in maps
        ]
        assert gradients[level] is not None and gradients[level].item() > 0
        assert all(g is None for g in gradients[level + 1 :])


def test_targets_are_the_foreground_whatever_the_label_max_pooled() -> None:
    network = small()
    labels = torch.randint(0, 40, (2, 1, 8, 12, 6), generator=torch.Generator().manual_seed(0))
    labels = torch.where(labels < 3, labels, 0)  # few voxels of label 1 and 2
    assert set(labels.unique().tolist()) == {0, 1, 2}
    for given in (labels, labels.to(torch.uint8), labels.float()):
        fine, middle, coarse = network.attention_targets(given)
        assert fine.dtype == torch.float32
        mask = labels.numpy() > 0
        assert np.array_equal(fine.numpy(), mask)
        blocks = mask.reshape(2, 1, 4, 2, 6, 2, 6, 1)
        assert np.array_equal(middle.numpy(), blocks.any(axis=(3, 5, 7)))
        blocks = mask.reshape(2, 1, 2, 4, 3, 4, 3, 2)
        assert np.array_equal(coarse.numpy(), blocks.any(axis=(3, 5, 7)))


def test_targets_lie_on_the_padded_grid_with_background_around() -> None:
    network = small()
    label = torch.full((1, 1, 5, 7, 1), 2)
    fine, middle, coarse = network.attention_targets(label)
    assert fine.shape == (1, 1, 8, 8, 2)
    assert fine.sum() == 5 * 7  # padding is background though the image's border is repeated
    assert torch.equal(
        crop(fine, margins_to_multiple((5, 7, 1), (4, 4, 2))), torch.ones(label.shape)
    )
    assert middle.shape == (1, 1, 4, 4, 2) and coarse.shape == (1, 1, 2, 2, 1)
    assert set(fine.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("label", [1, 2, 5])
def test_one_voxel_stays_visible_to_the_bottom(paper, label) -> None:
    volume = torch.zeros(1, 1, 64, 64, 16)
    volume[0, 0, 40, 3, 9] = label
    targets = paper.attention_targets(volume)
    assert [t.sum().item() for t in targets] == [1] * 6
    assert targets[-1].nonzero().tolist() == [[0, 0, 1, 0, 1]]


def test_counts_that_do_not_fit_are_refused() -> None:
    for channels, kernels, strides in (
        ((4, 8), (CUBE,), ((2, 2, 2),)),
        ((4, 8), (CUBE, CUBE), ((2, 2, 2), (2, 2, 2))),
        ((4,), (CUBE,), ()),
    ):
        with pytest.raises(ValueError, match="one stride fewer"):
            unet(channels=channels, kernels=kernels, strides=strides)


def test_class_count_is_free() -> None:
    network = unet(5, channels=(2, 4), kernels=(CUBE, CUBE), strides=((2, 2, 2),))
    assert network(image(7, 6, 5)).shape == (1, 5, 7, 6, 5)
