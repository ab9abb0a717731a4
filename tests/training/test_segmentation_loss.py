"""The segmenter's loss: soft Dice, cross-entropy and supervised attention on known answers."""

import math

import pytest
import torch
from monai.losses import DiceCELoss
from torch import Tensor

from vsuda_cli.training.segmentation_loss import dice_and_cross_entropy, segmentation_losses


class Fixed(torch.nn.Module):
    """A network that answers with given logits and attention maps."""

    def __init__(self, logits: Tensor, maps: list[Tensor]) -> None:
        super().__init__()
        self.logits, self.maps = logits, maps
        self.masks: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.logits

    def forward_with_attention(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.logits, self.maps

    def attention_targets(self, foreground: Tensor) -> list[Tensor]:
        self.masks.append(foreground)
        coarse = torch.nn.functional.max_pool3d(foreground, 2, 2)
        return [foreground, coarse]


def two_boxes() -> Tensor:
    """Return labels (1, 16, 16, 4) with a box of label 1 and one of label 2."""
    labels = torch.zeros((1, 16, 16, 4), dtype=torch.uint8)
    labels[:, 2:8, 2:8, 1:3], labels[:, 10:14, 8:14, :2] = 1, 2
    return labels


def one_hot_logits(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels.long(), classes).permute(0, 4, 1, 2, 3) * 50.0


def test_without_ignored_voxels_the_loss_is_monais() -> None:
    source = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 5, 4, 3), generator=source)
    labels = torch.randint(0, 3, (2, 5, 4, 3), generator=source)
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    wanted = theirs(logits, labels[:, None])
    assert dice_and_cross_entropy(logits, labels).item() == pytest.approx(wanted.item(), rel=1e-6)
    none = torch.zeros_like(labels)
    wanted = theirs(logits, none[:, None])
    assert dice_and_cross_entropy(logits, none).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_ignored_voxels_have_no_part_in_the_loss() -> None:
    source = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 5, 4, 3), generator=source, requires_grad=True)
    labels = torch.randint(0, 3, (2, 5, 4, 3), generator=source)
    labels[:, 3:] = 255
    loss = dice_and_cross_entropy(logits, labels)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, 3:].any()
    alone = dice_and_cross_entropy(logits[:, :, :3], labels[:, :3])
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)


def test_attention_is_held_against_the_binary_mask() -> None:
    labels = two_boxes()
    mask = (labels > 0)[:, None].float()
    coarse = torch.nn.functional.max_pool3d(mask, 2, 2)
    network = Fixed(one_hot_logits(labels, 3), [mask, coarse])
    losses = segmentation_losses(network, torch.zeros_like(mask), labels, 2.0)
    assert sorted(network.masks[0].unique().tolist()) == [0, 1]
    # Maps equal to the mask, labels 2 included, are perfect; so are these logits.
    assert losses["attention"].item() == pytest.approx(0, abs=1e-5)
    assert losses["segmentation"].item() == pytest.approx(0, abs=1e-4)


def test_the_attention_loss_is_the_mean_soft_dice_over_levels() -> None:
    labels = two_boxes()
    mask = (labels > 0)[:, None].float()
    half = torch.full_like(mask, 0.5)
    coarse = torch.nn.functional.max_pool3d(mask, 2, 2)
    network = Fixed(one_hot_logits(labels, 3), [half, coarse])
    found = segmentation_losses(network, half, labels, 2.0)["attention"]
    inside, everything = mask.sum().item(), mask.numel()
    first = 1 - 2 * 0.5 * inside / (0.5 * everything + inside)
    assert found.item() == pytest.approx(2.0 * (first + 0) / 2, abs=1e-5)


def test_attention_counts_no_voxel_of_which_nothing_is_known() -> None:
    labels = two_boxes()
    labels[:, 8:, :8], labels[:, :3] = 255, 255
    mask = ((labels > 0) & (labels != 255))[:, None].float()
    fine = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    coarse = torch.nn.functional.max_pool3d(mask, 2, 2).requires_grad_()
    network = Fixed(one_hot_logits(labels.clamp(max=2), 3), [fine, coarse])
    segmentation_losses(network, mask, labels, 1.0)["attention"].backward()
    assert fine.grad is not None and coarse.grad is not None
    assert torch.equal(fine.grad[:, 0] == 0, labels == 255)
    # A coarse voxel with foreground in it counts, whatever else is in it.
    unknown = torch.nn.functional.max_pool3d((labels == 255)[:, None].float(), 2, 2)
    assert torch.equal(coarse.grad == 0, (unknown > 0) & (coarse == 0))
    assert ((unknown > 0) & (coarse > 0)).any()


def test_wrong_logits_cost_dice_and_cross_entropy() -> None:
    labels = torch.zeros((1, 2, 2, 2), dtype=torch.uint8)
    labels[0, 0] = 1
    mask = (labels > 0)[:, None].float()
    even = torch.zeros((1, 2, 2, 2, 2))
    network = Fixed(even, [mask, mask[:, :, :1, :1, :1]])
    found = segmentation_losses(network, mask, labels, 1.0)["segmentation"]
    # Probability 1/2 everywhere: Dice of class 1 is 2 * 2 / (4 + 4), cross-entropy is ln 2.
    assert found.item() == pytest.approx(0.5 + math.log(2), abs=1e-4)
