"""Least-squares adversarial losses on known scores."""

import pytest
import torch

from vsuda_cli.training.gan_losses import discriminator_loss, judged


def test_scores_are_held_against_one_and_zero() -> None:
    scores = torch.tensor([1.0, 0.0, 3.0])
    assert judged(scores, real=True) == pytest.approx((0 + 1 + 4) / 3)
    assert judged(scores, real=False) == pytest.approx((1 + 0 + 9) / 3)


def test_the_discriminator_learns_at_half_pace() -> None:
    real, fake = torch.tensor([0.5]), torch.tensor([0.5])
    assert discriminator_loss(real, fake) == pytest.approx(0.25)
    assert discriminator_loss(torch.ones(4), torch.zeros(4)) == 0
