"""The segmenter: its network, what that finds, and how much of it is right."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from vsuda_cli.config import SegmentationSettings, UNet
from vsuda_cli.networks.passes import in_windows
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training.data import Item, label_of
from vsuda_cli.training.precision import autocast

VALIDATION_METRIC = ("validation_dice", True)


def build_unet(settings: UNet, class_count: int) -> UNet2d5:
    """Return the segmentation network; `class_count` includes the background."""
    return UNet2d5(
        class_count=class_count,
        channels=settings.channels,
        kernels=settings.kernels,
        strides=settings.strides,
        residual_units=settings.residual_units,
        dropout=settings.dropout,
    )


def class_probabilities(
    network: UNet2d5, device: torch.device, images: Tensor, *, mixed: bool
) -> Tensor:
    """Return the probabilities (B, class, X, Y, Z) of images (B, 1, X, Y, Z), in 32 bits.

    `mixed`: as a run's `mixed_precision`, whose network is to calculate as it learnt.
    """
    with autocast(device, mixed):
        logits: Tensor = network(images)
    return logits.float().softmax(dim=1)


@contextmanager
def _evaluating(network: UNet2d5) -> Iterator[None]:
    """Put a network into evaluation mode, and back into its own."""
    was_training = network.training
    network.eval()
    yield
    network.train(was_training)


@torch.no_grad()
def predict_classes(
    network: UNet2d5, images: Tensor, device: torch.device, *, mixed: bool
) -> Tensor:
    """Return the most probable class (B, X, Y, Z) of images (B, 1, X, Y, Z), in evaluation mode."""
    with _evaluating(network), autocast(device, mixed):
        classes: Tensor = network(images).argmax(dim=1)
    return classes


@torch.no_grad()
def validation_dice(
    network: UNet2d5, items: list[Item], settings: SegmentationSettings, device: torch.device
) -> dict[str, float]:
    """Return the Dice of each class, and `validation_dice`, their mean.

    Images go through in windows as in `predict`, which alone applies `exclude_by_intensity`.
    Voxels are counted over all crops of a subject, then Dice is averaged over subjects; a class
    that a subject lacks and that is not predicted there counts as 1.
    """
    if not items:
        return {}
    counts: dict[str, Tensor] = {}
    with _evaluating(network):
        for item in items:
            counts[item.subject] = counts.get(item.subject, 0) + _overlap(
                network, item, settings, device
            )
    dice = {}
    for index, name in enumerate(settings.classes):
        values = []
        for count in counts.values():
            overlap, total = count[index].tolist()
            values.append(2 * overlap / total if total else 1.0)
        dice[f"validation_dice_{name}"] = sum(values) / len(values)
    return {**dice, VALIDATION_METRIC[0]: sum(dice.values()) / len(dice)}


def _overlap(
    network: UNet2d5, item: Item, settings: SegmentationSettings, device: torch.device
) -> Tensor:
    """Return for each class (class, 2) how many voxels are right, and how many found plus there."""
    softmax = partial(class_probabilities, network, device, mixed=settings.mixed_precision)
    image = item.image[None].to(device)
    found = in_windows(softmax, image, settings.patch_size, device)[0].argmax(dim=0)
    wanted = label_of(item).to(found.device)
    return torch.stack(
        [
            torch.stack(
                [((found == c) & (wanted == c)).sum(), (found == c).sum() + (wanted == c).sum()]
            )
            for c in range(1, len(settings.classes) + 1)
        ]
    )
