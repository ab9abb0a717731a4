"""The soft Dice loss over a whole batch, also where several processes share the batch."""

from torch import Tensor

from vsuda_cli.training import ranks

# Added to both sides: two empty masks agree (MONAI's value).
SMOOTH = 1e-5


def soft_dice_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 - (2 |found wanted| + s) / (|found| + |wanted| + s), averaged over classes.

    found, wanted: (B, class, X, Y, Z) in [0, 1]; the sums |.| go over the batch and its voxels
    (Milletari et al. 2016, without squares).
    """
    over = [0, *range(2, found.ndim)]
    overlap = ranks.summed((found * wanted).sum(over))
    total = ranks.summed(found.sum(over) + wanted.sum(over))
    return (1 - (2 * overlap + SMOOTH) / (total + SMOOTH)).mean()
