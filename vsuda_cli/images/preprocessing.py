"""The one way a volume is brought to a network, in training and in prediction."""

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.config import Preprocessing
from vsuda_cli.images.no_signal import with_no_signal_at_0
from vsuda_cli.images.percentiles import tail_percentiles
from vsuda_cli.images.resampling import resample_image

Array = NDArray[np.float32]


def prepare(
    array: NDArray[np.float32], affine: NDArray[np.float64], settings: Preprocessing
) -> tuple[Array, NDArray[np.float64]]:
    """Resample (X, Y, Z) to the training spacing and bring its intensities to [0, 1].

    Returns the array and its affine (voxel index to RAS mm).
    """
    array = with_no_signal_at_0(array)
    resampled, new_affine = resample_image(array, affine, settings.spacing_mm)
    return normalise(resampled, settings.percentiles), new_affine


def normalise(array: NDArray[np.float32], percentiles: tuple[float, float]) -> Array:
    """Map the given percentiles of the non-zero voxels to 0 and 1, and clip.

    Zeros are left out of the statistics: they are padding outside the field of view or masked
    background (see `no_signal`), and their share says nothing about the contrast. A constant image
    becomes 0.
    """
    inside = array[array != 0]
    if inside.size == 0:
        return np.zeros_like(array, dtype=np.float32)
    low, high = tail_percentiles(inside, percentiles)
    if high <= low:
        return np.zeros_like(array, dtype=np.float32)
    scaled = np.subtract(array, np.float32(low), dtype=np.float32)
    scaled /= np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)
