"""What the segmenter finds, and how much of it is right, on toys."""

import dataclasses

import pytest
import torch
from tiny_runs import UNET
from torch import Tensor

from vsuda_cli.config import SegmentationSettings, UNet
from vsuda_cli.training.data import Item
from vsuda_cli.training.segmenter import (
    VALIDATION_METRIC,
    build_unet,
    predict_classes,
    validation_dice,
)

CPU = torch.device("cpu")
# Its crops are one patch large.
SMALL = SegmentationSettings(patch_size=(4, 4, 2))


class Fixed(torch.nn.Module):
    """A network that finds given classes."""

    def __init__(self, labels: Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.functional.one_hot(labels.long(), 3).movedim(-1, 1).float()

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def test_the_default_network_is_as_large_as_the_methods() -> None:
    assert sum(value.numel() for value in build_unet(UNet(), 3).parameters()) == 3450582


def test_prediction_is_made_without_dropout_and_leaves_the_mode() -> None:
    network = build_unet(dataclasses.replace(UNET, dropout=0.5), 3)
    images = torch.rand((1, 1, 16, 16, 4), generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        network.train(training)
        found = predict_classes(network, images, CPU, mixed=True)
        assert network.training is training
        assert torch.equal(found, predict_classes(network, images, CPU, mixed=True))
        assert found.shape == (1, 16, 16, 4)


def test_validation_dice_counts_over_a_subjects_crops() -> None:
    found = torch.zeros((1, 4, 4, 2), dtype=torch.uint8)
    found[0, :2], found[0, 3, 3, 0] = 1, 2  # 16 voxels of class 1, 1 of class 2

    def labelled(case: str, ones: int, twos: int) -> Item:
        label = torch.zeros((4, 4, 2), dtype=torch.uint8)
        label.view(-1)[:ones] = 1
        if twos:
            label[3, 3, 0] = 2
        return Item(case, torch.zeros(1, 4, 4, 2), label)

    network = Fixed(found)
    items = [labelled("a_R", 8, 1), labelled("a_L", 16, 1), labelled("b_R", 0, 0)]
    scores = validation_dice(network, items, SMALL, CPU)
    # Subject a: 2 (8 + 16) / (32 + 24) and 2 * 2 / (2 + 2); subject b has neither: 0.
    assert scores["validation_dice_VS"] == pytest.approx((48 / 56 + 0) / 2)
    assert scores["validation_dice_cochlea"] == pytest.approx((1 + 0) / 2)
    assert scores["validation_dice"] == pytest.approx((24 / 56 + 0.5) / 2)


def test_the_better_segmenter_has_the_larger_score() -> None:
    label = torch.zeros((4, 4, 2), dtype=torch.uint8)
    label[:2], label[3] = 1, 2
    worse = label.clone()
    worse[1], worse[3, 2:] = 0, 0
    item = Item("a", torch.zeros(1, 4, 4, 2), label)
    name, larger_is_better = VALIDATION_METRIC
    right, wrong = (
        validation_dice(Fixed(found[None]), [item], SMALL, CPU)[name] for found in (label, worse)
    )
    assert right > wrong
    assert larger_is_better


def test_a_class_absent_from_both_counts_as_1_and_no_items_as_nothing() -> None:
    nothing = torch.zeros((1, 4, 4, 2), dtype=torch.uint8)
    network = Fixed(nothing)
    empty = Item("a", torch.zeros(1, 4, 4, 2), nothing[0])
    scores = validation_dice(network, [empty], SMALL, CPU)
    assert scores["validation_dice"] == 1.0
    assert validation_dice(network, [], SMALL, CPU) == {}
    unlabelled = dataclasses.replace(empty, label=None)
    with pytest.raises(ValueError, match="a has no label"):
        validation_dice(network, [unlabelled], SMALL, CPU)
