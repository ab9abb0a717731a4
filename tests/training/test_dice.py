"""The soft Dice loss on masks with known overlaps."""

import pytest
import torch

from vsuda_cli.training.dice import soft_dice_loss


def test_known_overlaps_are_averaged_over_classes() -> None:
    found, wanted = torch.zeros(2, 2, 4, 4, 2), torch.zeros(2, 2, 4, 4, 2)
    found[0, 0, :2], wanted[0, 0, 1:3] = 1, 1  # half of 16 voxels overlap
    found[0, 1], wanted[0, 1] = 0.5, 1  # 2 * 16 / (16 + 32)
    loss = soft_dice_loss(found, wanted)
    assert loss.item() == pytest.approx(1 - (0.5 + 2 / 3) / 2, abs=1e-5)


def test_sums_go_over_the_batch() -> None:
    found, wanted = torch.zeros(2, 1, 2, 2, 2), torch.zeros(2, 1, 2, 2, 2)
    found[0], wanted[0] = 1, 1
    found[1, 0, 0, 0, 0] = 1  # one false voxel in a patch without the structure
    assert soft_dice_loss(found, wanted).item() == pytest.approx(1 - 16 / 17, abs=1e-5)


def test_two_empty_masks_agree() -> None:
    assert soft_dice_loss(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)).item() == 0
