"""Curves bent to what is known: at an anchor, near one, between two, and where all is dark."""

import math

import pytest
import torch

from vsuda_cli.training.contrast_prior import ANCHOR_WIDTH, anchored

STRAIGHT = torch.linspace(0, 1, 41)


def test_an_anchor_pulls_less_the_further_away() -> None:
    anchor = torch.tensor([(0.5, 0.6, 0.8, 1.0)])
    found = anchored(STRAIGHT, anchor, torch.tensor([0.25]))
    assert found[20:25].tolist() == pytest.approx([0.85] * 5)
    for index, beyond in ((18, 0.05), (26, 0.05)):
        share = math.exp(-((beyond / ANCHOR_WIDTH) ** 2))
        wanted = (1 - share) * STRAIGHT[index].item() + share * 0.85
        assert found[index].item() == pytest.approx(wanted, abs=1e-5)
    assert found[35:].tolist() == pytest.approx(STRAIGHT[35:].tolist(), abs=1e-3)
    assert found[0].item() == pytest.approx(0)


def test_two_anchors_of_one_intensity_share_it() -> None:
    anchors = torch.tensor([(0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.6, 0.6)])
    found = anchored(STRAIGHT, anchors, torch.zeros(2))
    assert found[20].item() == pytest.approx(0.4)
