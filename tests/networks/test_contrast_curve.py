"""A curve maps intensities alone, and travels with its weights."""

import pytest
import torch

from vsuda_cli.networks.contrast_curve import (
    FINE_POINTS,
    ContrastCurve,
    apply_curve,
    hide_structures,
    smooth_in_plane,
)


def test_between_its_points_the_curve_is_straight() -> None:
    heights = torch.tensor([0.0, 1.0, 0.2])
    image = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.3, -0.2])
    wanted = torch.tensor([0.0, 0.5, 1.0, 0.6, 0.2, 0.2, 0.0])
    torch.testing.assert_close(apply_curve(image, heights), wanted)


def test_a_new_curve_only_smooths_and_a_stored_one_comes_back() -> None:
    curve = ContrastCurve()
    image = torch.rand((2, 1, 4, 4, 3), generator=torch.Generator().manual_seed(0))
    smooth = smooth_in_plane(image, (2, 3))
    torch.testing.assert_close(curve(image), smooth)
    curve.heights.copy_(torch.linspace(1, 0, FINE_POINTS))
    again = ContrastCurve()
    again.load_state_dict(curve.state_dict())
    torch.testing.assert_close(again(image), 1 - smooth)


def test_smoothing_spreads_a_point_binomially_in_plane() -> None:
    image = torch.zeros((1, 1, 9, 9, 3))
    image[..., 4, 4, 1] = 256
    found = smooth_in_plane(image, (2, 3))[0, 0, :, :, 1]
    row = torch.tensor([1.0, 4, 6, 4, 1])
    torch.testing.assert_close(found[2:7, 2:7], row[:, None] * row)
    assert found.sum() == 256
    constant = torch.full((1, 1, 2, 1, 1), 0.3)
    torch.testing.assert_close(smooth_in_plane(constant, (2, 3)), constant)


def test_structures_are_drawn_at_their_levels_with_their_own_texture() -> None:
    image = torch.zeros((1, 1, 20, 20, 2))
    image[..., 5:15, 5:15, :] = 0.9
    image[..., 8:12, 8:12, :] = 0.8
    label = (image[0, 0] > 0).long()
    curve = ContrastCurve(2)
    curve.levels.copy_(torch.tensor([0.5, 0.9]))
    found = curve.drawn(image, label)[0, 0]
    assert torch.equal(found[:4], torch.zeros_like(found[:4]))
    # Without its edge the structure is 8 x 8 voxels of 0.9, 4 x 4 of them 0.8.
    mean = 0.9 - 0.1 * 16 / 64
    assert found[10, 10, 0].item() == pytest.approx(0.5 + 0.8 - mean, abs=0.02)
    assert found[6, 6, 0].item() == pytest.approx(0.5 + 0.9 - mean, abs=0.02)
    assert torch.equal(curve.drawn(image, label), curve.drawn(image, label))


@pytest.mark.parametrize("levels", [0, 1])
def test_structures_without_a_level_go_through_the_curve(levels: int) -> None:
    image = torch.zeros((1, 1, 20, 20, 2))
    image[..., 2:7, 2:7, :], image[..., 12:17, 12:17, :] = 0.9, 0.8
    label = torch.zeros((20, 20, 2), dtype=torch.uint8)
    label[2:7, 2:7], label[12:17, 12:17] = 1, 2
    curve = ContrastCurve(levels)
    curve.levels.fill_(0.3)
    found = curve.drawn(image, label)
    torch.testing.assert_close(found[..., 10:, 10:, :], curve(image)[..., 10:, 10:, :])
    assert found[0, 0, 4, 4, 0].item() == pytest.approx(0.3 if levels else 0.9, abs=0.01)


def test_what_lies_around_hides_a_structures_edge_alone() -> None:
    image = torch.full((1, 1, 20, 20, 1), 0.2)
    image[..., 5:15, 5:15, :] = 1
    label = (image[:, 0] > 0.5).long()
    found = hide_structures(image, label)[0, 0, :, 10, 0]
    torch.testing.assert_close(found[:8], torch.full((8,), 0.2))
    assert found[9] == 1
