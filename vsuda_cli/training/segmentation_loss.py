"""What a segmenter's output costs: Dice and cross-entropy, and Dice of its attention maps."""

import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training import ranks
from vsuda_cli.training.dice import soft_dice_loss


def segmentation_losses(
    network: UNet2d5, images: Tensor, labels: Tensor, attention_weight: float
) -> dict[str, Tensor]:
    """Return `segmentation`, Dice + cross-entropy of the output, and `attention`, Dice of the maps.

    After Wang et al. 2019: every attention map is held against the max-pooled foreground mask, so
    label 2 is no target value of 2. images: (B, 1, X, Y, Z); labels: (B, X, Y, Z) class indices, or
    255 for voxels that count nowhere.
    """
    logits, maps = network.forward_with_attention(images)
    foreground = (labels > 0) & (labels != IGNORED)
    targets = network.attention_targets(foreground[:, None].float())
    unknown = network.attention_targets((labels == IGNORED)[:, None].float())
    attention = []
    for found, wanted, hidden in zip(maps, targets, unknown, strict=True):
        # A coarse voxel counts where there is foreground in it, or all of it is known.
        counted = torch.maximum(wanted, 1 - hidden)
        attention.append(soft_dice_loss(found.float() * counted, wanted))
    return {
        "segmentation": dice_and_cross_entropy(logits.float(), labels.long()),
        "attention": attention_weight * torch.stack(attention).mean(),
    }


def dice_and_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - mean soft Dice of the structures + mean cross-entropy, as MONAI's DiceCELoss.

    logits: (B, class, X, Y, Z); labels: (B, X, Y, Z), 255 where a voxel counts in neither. Dice is
    taken over the batch, of all processes: a patch without tumour has a Dice of its own only with
    the others.
    """
    counted = labels != IGNORED
    wanted = functional.one_hot(torch.where(counted, labels, 0), logits.shape[1]).movedim(-1, 1)
    found = (logits.softmax(dim=1) * counted[:, None])[:, 1:]
    wanted = (wanted * counted[:, None])[:, 1:].to(found.dtype)
    return soft_dice_loss(found, wanted) + counted_cross_entropy(logits, labels)


def counted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over the voxels that are not ignored, of all processes.

    logits: (B, class, X, Y, Z); labels: (B, X, Y, Z), 255 where nothing is known.
    """
    entropy = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    voxels = ranks.mean((labels != IGNORED).sum().to(entropy.dtype))
    return entropy / voxels.clamp(min=1)
