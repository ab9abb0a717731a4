"""Least-squares adversarial losses (Mao et al. 2017), as CycleGAN and CUT use them."""

from torch import Tensor


def judged(scores: Tensor, real: bool) -> Tensor:
    """Return the mean squared distance of a discriminator's scores to 1 (real) or 0 (fake)."""
    return (scores.float() - float(real)).square().mean()


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return half the sum of both errors: the discriminator learns at half the generator's pace."""
    return (judged(real_scores, real=True) + judged(fake_scores, real=False)) / 2
