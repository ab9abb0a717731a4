"""Where a structure cannot be in an unlabelled image, by what is known of its intensity."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vsuda_cli.networks.contrast_curve import smooth_in_plane


def excluded(image: Tensor, ranges: Sequence[tuple[float, float]]) -> Tensor:
    """Return for labels 1, 2, ... where each cannot be, (structure, X, Y, Z).

    image: (1, X, Y, Z) in [0, 1]; `ranges` are those of the structures' intensities. A voxel is a
    structure's if most of it is: then no more than half is something else, between black and white.
    It is judged by itself and with its neighbours in plane: those help against noise, and would
    take the edges of thin structures.
    """
    low, high = image.new_tensor(list(ranges)).T.view(2, -1, 1, 1, 1)
    smooth = smooth_in_plane(image, (1, 2), passes=1)
    darkest, brightest = torch.minimum(image, smooth), torch.maximum(image, smooth)
    nowhere: Tensor = (brightest < low / 2) | (darkest > (high + 1) / 2)
    return nowhere
