"""The filters equal the published ones of CUT (Zhang 2019), written out here in full."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.networks.blur import BlurDown, BlurUp


def published_filter(taps: list[float], channels: int, gain: float) -> Tensor:
    line = torch.tensor(taps, dtype=torch.float64)
    square = line[:, None] * line[None, :]
    return (square / square.sum() * gain).expand(channels, 1, -1, -1)


def published_down(x: Tensor) -> Tensor:
    kernel = published_filter([1, 2, 1], x.shape[1], 1)
    padded = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(padded, kernel, stride=2, groups=x.shape[1])


def published_up(x: Tensor) -> Tensor:
    kernel = published_filter([1, 3, 3, 1], x.shape[1], 4)
    padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    y = functional.conv_transpose2d(padded, kernel, stride=2, padding=2, groups=x.shape[1])
    return y[:, :, 1:-1, 1:-1]


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 3), (2, 2)])
def test_equals_the_published_filters(size) -> None:
    x = noise(2, 3, *size)
    down, up = BlurDown(2)(x), BlurUp(2)(x)
    assert down.shape[2:] == tuple(-(-n // 2) for n in size)
    assert up.shape[2:] == tuple(2 * n for n in size)
    torch.testing.assert_close(down, published_down(x))
    torch.testing.assert_close(up, published_up(x))


def test_one_bright_voxel_shows_the_kernel() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 16
    expected = torch.zeros(5, 5)
    expected[2, 2] = 4  # the kernel's centre is 2 x 2 of 16; its other taps fall on odd voxels
    assert torch.equal(BlurDown(2)(x)[0, 0], expected)
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    assert torch.equal(BlurUp(2)(x)[0, 0, 7:11, 7:11], line[:, None] * line[None, :])


@pytest.mark.parametrize("slices", [1, 8])
def test_slices_stay_apart(slices) -> None:
    x = noise(1, 2, 6, 9, slices)
    for layer, flat in ((BlurDown(3), BlurDown(2)), (BlurUp(3), BlurUp(2))):
        y = layer(x)
        for z in range(slices):
            torch.testing.assert_close(y[..., z], flat(x[..., z]))


def test_a_constant_image_stays_constant() -> None:
    x = torch.full((1, 1, 7, 6), 0.25)
    for layer in (BlurDown(2), BlurUp(2)):
        assert torch.allclose(layer(x), torch.tensor(0.25))
    assert not list(BlurDown(2).state_dict()) and not list(BlurUp(3).state_dict())
