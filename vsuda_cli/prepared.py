"""Images as the networks take them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsuda_cli import config
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import Affine, spacing_of
from vsuda_cli.images.preprocessing import prepare


@dataclass(frozen=True)
class Prepared:
    """A volume on the training grid, `image` (1, 1, X, Y, Z) with `affine`, and where it is from.

    `shape` and `spacing_mm` are those of the grid it came from; `where` names it in messages.
    """

    image: Tensor
    affine: Affine
    shape: tuple[int, int, int]
    spacing_mm: NDArray[np.float64]
    where: object

    def ready_for(self, device: torch.device) -> "Prepared":
        """Return it in memory that a GPU fetches from while it is busy with something else."""
        return replace(self, image=self.image.pin_memory()) if device.type == "cuda" else self

    def image_on(self, device: torch.device) -> Tensor:
        """Return the image on a device, without waiting for it where it was made ready for that."""
        return self.image.to(device, non_blocking=True)


def prepare_image(
    array: NDArray[Any], affine: Affine, settings: config.Preprocessing, where: object
) -> Prepared:
    """Bring an image (X, Y, Z) to the training's grid and intensities, on the CPU.

    Raises VsudaError, naming `where`, for an array that is no finite three-dimensional image.
    """
    if array.ndim != 3 or not np.isfinite(array).all():
        problem = f"of shape {array.shape} is no finite three-dimensional image"
        raise VsudaError(where, problem, "give voxels (X, Y, Z) without NaN")
    on_grid, new_affine = prepare(array.astype(np.float32, copy=False), affine, settings)
    shape = (array.shape[0], array.shape[1], array.shape[2])
    spacing = spacing_of(affine)
    return Prepared(torch.from_numpy(on_grid)[None, None], new_affine, shape, spacing, where)
