"""Training cases in memory, made up."""

import torch

from vsuda_cli.training.data import Item


def item(case: str, size: tuple[int, int, int] = (8, 7, 6), labelled: bool = True) -> Item:
    """A volume whose every voxel has its own value, so that a patch tells where it is from."""
    count = size[0] * size[1] * size[2]
    image = torch.arange(1, count + 1, dtype=torch.float32).view(1, *size) / count
    label = torch.zeros(size, dtype=torch.uint8)
    label[0, 0, 0] = 2
    label[4:7, 3:6, 1:4] = 1
    return Item(case, image, label if labelled else None)
