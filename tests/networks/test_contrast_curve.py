"""A curve maps intensities alone, and travels with its weights."""

import torch

from vsuda_cli.networks.contrast_curve import ContrastCurve, apply_curve, smooth_in_plane


def test_between_its_points_the_curve_is_straight() -> None:
    heights = torch.tensor([0.0, 1.0, 0.2])
    image = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.3, -0.2])
    wanted = torch.tensor([0.0, 0.5, 1.0, 0.6, 0.2, 0.2, 0.0])
    torch.testing.assert_close(apply_curve(image, heights), wanted)


def test_a_new_curve_only_smooths_and_a_stored_one_comes_back() -> None:
    curve = ContrastCurve(11)
    image = torch.rand((2, 1, 4, 4, 3), generator=torch.Generator().manual_seed(0))
    smooth = smooth_in_plane(image, (2, 3))
    torch.testing.assert_close(curve(image), smooth)
    curve.heights.copy_(torch.linspace(1, 0, 11))
    again = ContrastCurve(11)
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
