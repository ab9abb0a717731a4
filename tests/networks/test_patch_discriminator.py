"""The PatchGAN: its size, what a score sees, and the shapes of its maps."""

import pytest
import torch
from torch import nn

from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.instance_norm import InstanceNorm
from vsuda_cli.networks.patch_discriminator import PatchDiscriminator, smallest_plane
from vsuda_cli.training.translation import build_discriminator


def parameter_count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def kernels(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for name, p in network.named_parameters() if name.endswith("weight")]


def seen_by_one_score(network: PatchDiscriminator, size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the (first, last) voxel with a gradient along each axis, for the middle score."""
    # Instance normalisation mixes the whole image; the receptive field is the convolutions'.
    for name, module in network.body.named_children():
        if isinstance(module, InstanceNorm):
            setattr(network.body, name, nn.Identity())
    # Positive weights, biases and image: every activation passes and no gradient cancels.
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)
    x = torch.ones((1, 1, *size), dtype=torch.float64, requires_grad=True)
    scores = network.double()(x)
    middle = tuple(n // 2 for n in scores.shape[2:])
    scores[(0, 0, *middle)].backward()
    places = x.grad[0, 0].nonzero()
    return list(zip(places.amin(0).tolist(), places.amax(0).tolist(), strict=True))


def test_layer_shapes_and_parameter_count() -> None:
    network = build_discriminator(TranslationSettings(method="cyclegan"))
    assert kernels(network) == [
        (64, 1, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (1, 512, 4, 4),
    ]
    by_hand = (
        (1 * 64 * 16 + 64)
        + (64 * 128 * 16 + 128)
        + (128 * 256 * 16 + 256)
        + (256 * 512 * 16 + 512)
        + (512 * 1 * 16 + 1)
    )
    assert by_hand == 2_762_689
    assert parameter_count(network) == by_hand
    assert parameter_count(build_discriminator(TranslationSettings(method="cut"))) == by_hand


def test_three_dimensional_kernels_and_strides() -> None:
    network = PatchDiscriminator(3, base_channels=4, layers=3)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    assert all(c.kernel_size == (4, 4, 3) and c.padding == (1, 1, 1) for c in convolutions)
    assert [c.stride for c in convolutions] == [(2, 2, 1)] * 3 + [(1, 1, 1)] * 2


def test_channels_stop_growing_at_eight_times_the_base() -> None:
    widths = [shape[0] for shape in kernels(PatchDiscriminator(2, base_channels=2, layers=5))]
    assert widths == [2, 4, 8, 16, 16, 16, 1]


def test_normalisation_and_leak_are_where_the_paper_has_them() -> None:
    body = PatchDiscriminator(2, base_channels=2, layers=3).body
    assert [type(m).__name__ for m in body] == [
        *("Conv2d", "LeakyReLU"),
        *("Conv2d", "InstanceNorm", "LeakyReLU") * 3,
        "Conv2d",
    ]
    assert all(m.negative_slope == 0.2 for m in body if isinstance(m, nn.LeakyReLU))


@pytest.mark.parametrize(("layers", "extent"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_seventy_voxels(layers, extent) -> None:
    network = PatchDiscriminator(2, base_channels=1, layers=layers)
    spans = seen_by_one_score(network, (160, 160))
    assert [last - first + 1 for first, last in spans] == [extent, extent]


def test_a_three_dimensional_score_sees_eleven_slices() -> None:
    spans = seen_by_one_score(PatchDiscriminator(3, base_channels=1, layers=3), (112, 112, 21))
    assert [last - first + 1 for first, last in spans] == [70, 70, 11]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(24, 24), (37, 50), (24, 31, 1), (33, 26, 8), (30, 24, 11)])
def test_any_size_from_the_smallest_plane_on(antialias, size) -> None:
    assert smallest_plane(3) == 24
    network = PatchDiscriminator(len(size), base_channels=2, layers=3, antialias=antialias)
    scores = network(torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)))
    halved = [n // 8 - 2 for n in size[:2]]
    if not antialias:
        assert list(scores.shape[2:4]) == halved
    assert scores.shape[:2] == (2, 1)
    assert min(scores.shape[2:]) >= 1
    if len(size) == 3:
        assert scores.shape[4] == size[2]  # a score for each slice
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_smallest_plane_is_enough(layers) -> None:
    side = smallest_plane(layers)
    for antialias in (False, True):
        network = PatchDiscriminator(2, base_channels=1, layers=layers, antialias=antialias)
        assert torch.isfinite(network(torch.zeros(1, 1, side, side))).all()


def test_scores_are_of_the_range_minus_one_to_one() -> None:
    network = PatchDiscriminator(2, base_channels=2, layers=3)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), network.body(2 * x - 1))


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="2 or 3"):
        PatchDiscriminator(4, base_channels=2, layers=3)
