"""A curve maps intensities alone, and travels with its weights."""

import torch

from vsuda_cli.networks.contrast_curve import ContrastCurve, apply_curve


def test_between_its_points_the_curve_is_straight() -> None:
    heights = torch.tensor([0.0, 1.0, 0.2])
    image = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.3, -0.2])
    wanted = torch.tensor([0.0, 0.5, 1.0, 0.6, 0.2, 0.2, 0.0])
    torch.testing.assert_close(apply_curve(image, heights), wanted)


def test_a_new_curve_changes_nothing_and_a_stored_one_comes_back() -> None:
    curve = ContrastCurve(11)
    image = torch.rand((2, 1, 4, 4, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(curve(image), image)
    curve.heights.copy_(torch.linspace(1, 0, 11))
    again = ContrastCurve(11)
    again.load_state_dict(curve.state_dict())
    torch.testing.assert_close(again(image), 1 - image)
