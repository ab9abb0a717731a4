"""Layers of two dimensions and of three with an extent of their own across the slices."""

import pytest
import torch

from vsuda_cli.networks.anisotropic import (
    ReflectionPad,
    check_dims,
    convolution,
    transposed_convolution,
)


def test_only_two_or_three_dimensions() -> None:
    check_dims(2)
    check_dims(3)
    for dims in (1, 4):
        with pytest.raises(ValueError, match="2 or 3"):
            check_dims(dims)


def test_kernel_shapes_put_the_slice_extent_last() -> None:
    assert convolution(2, 3, 5, (7, 3)).weight.shape == (5, 3, 7, 7)
    volumetric = convolution(3, 3, 5, (7, 3), stride=(2, 1), padding=(3, 1))
    assert volumetric.weight.shape == (5, 3, 7, 7, 3)
    assert volumetric.stride == (2, 2, 1)
    assert volumetric.padding == (3, 3, 1)
    assert volumetric.bias.shape == (5,)


@pytest.mark.parametrize("slices", [1, 2, 8])
def test_transposed_convolution_doubles_the_plane_only(slices) -> None:
    assert transposed_convolution(2, 2, 1)(torch.zeros(1, 2, 5, 4)).shape == (1, 1, 10, 8)
    layer = transposed_convolution(3, 2, 1)
    assert layer.weight.shape == (2, 1, 3, 3, 3)
    assert layer(torch.zeros(1, 2, 5, 4, slices)).shape == (1, 1, 10, 8, slices)


def test_mirror_padding_and_its_thin_slabs() -> None:
    row = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    padded = ReflectionPad(2, (1, 9))(row[None, None])  # the extent across is not used in 2D
    assert padded[0, 0].tolist() == [
        [6, 5, 6, 7, 8, 7],
        [2, 1, 2, 3, 4, 3],
        [6, 5, 6, 7, 8, 7],
        [2, 1, 2, 3, 4, 3],
    ]
    stack = torch.arange(8.0).expand(1, 1, 3, 3, 8)
    assert ReflectionPad(3, (1, 1))(stack)[0, 0, 2, 2].tolist() == [1, *range(8), 6]
    single = torch.rand(1, 1, 3, 3, 1, generator=torch.Generator().manual_seed(1))
    thin = ReflectionPad(3, (1, 1))(single)
    assert thin.shape == (1, 1, 5, 5, 3)
    assert torch.equal(thin[..., 0], thin[..., 1]) and torch.equal(thin[..., 1], thin[..., 2])
    assert torch.equal(thin[..., 1], ReflectionPad(2, (1, 0))(single[..., 0]))
