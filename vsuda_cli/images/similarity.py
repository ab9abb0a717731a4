"""How alike two volumes of different contrast are under a transform: mutual information."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vsuda_cli.images.geometry import Affine, spacing_of, voxel_mm3
from vsuda_cli.images.resampling import resample_image

BINS = 24
# Intensities beyond these percentiles of the non-zero voxels (vessels, an enhancing tumour) share
# the outermost bins.
PERCENTILES = (1.0, 99.0)
# Below this share of the smaller volume inside the larger one, nothing can be said.
LEAST_OVERLAP = 0.35
# The darkest tissue; exactly 0 is left to voxels without a signal.
DARKEST = 1e-6


@dataclass(frozen=True)
class Level:
    """A volume at one coarse spacing, intensities in [0, 1]; `affine` is voxel to RAS mm.

    Exactly 0 are voxels without a signal: padding, what a skull-stripped head lacks, or air that
    the scanner has masked.
    """

    array: NDArray[np.float32]
    affine: Affine

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """World coordinates of the volume's middle."""
        middle = (np.asarray(self.array.shape) - 1) / 2
        centre: NDArray[np.float64] = self.affine[:3, :3] @ middle + self.affine[:3, 3]
        return centre

    @property
    def volume_mm3(self) -> float:
        """Volume of the whole box of voxels."""
        return float(self.array.size * voxel_mm3(self.affine))

    @property
    def signal_mm3(self) -> float:
        """Volume of the voxels that hold a signal."""
        return float(np.count_nonzero(self.array) * voxel_mm3(self.affine))

    @property
    def mass_centre_mm(self) -> NDArray[np.float64]:
        """World coordinates of the centre of the intensities."""
        total = float(self.array.sum())
        if total == 0:
            return self.centre_mm
        index = np.array(ndimage.center_of_mass(self.array))
        centre: NDArray[np.float64] = self.affine[:3, :3] @ index + self.affine[:3, 3]
        return centre


def make_level(array: NDArray[np.float32], affine: Affine, spacing_mm: float) -> Level:
    """Bring a volume to an isotropic spacing (where it is not coarser already) and to [0, 1]."""
    old = spacing_of(affine)
    resampled, new_affine = resample_image(array, affine, tuple(np.maximum(old, spacing_mm)))
    signal = resampled != 0
    if not signal.any():
        return Level(np.zeros_like(resampled), new_affine)
    low, high = np.percentile(resampled[signal], PERCENTILES)
    scaled = np.clip((resampled - low) / max(float(high - low), 1e-12), DARKEST, 1)
    return Level(np.where(signal, scaled, 0).astype(np.float32), new_affine)


def similarity(fixed: Level, moving: Level, to_moving: Affine) -> float:
    """Return the normalised mutual information of two volumes, 0 (unrelated) to 1 (identical).

    `to_moving` (4x4) maps the fixed volume's world to the moving one's. The measure is
    2 I(A, B) / (H(A) + H(B)) over the overlap (Maes et al. 1997), times the overlap's share of the
    smaller volume: without that, two slabs resemble each other most where they hardly meet. It is
    0 where that share is below LEAST_OVERLAP. Voxels without a signal count in neither: a brain
    without its skull would resemble a whole head most when blown up to its outline.
    """
    to_index = np.linalg.solve(moving.affine, to_moving @ fixed.affine)
    x, y, z = np.ogrid[tuple(slice(n) for n in fixed.array.shape)]
    rows = [
        to_index[k, 0] * x + to_index[k, 1] * y + to_index[k, 2] * z + to_index[k, 3]
        for k in range(3)
    ]
    inside = fixed.array > 0
    signal_voxels = np.count_nonzero(inside)
    for row, size in zip(rows, moving.array.shape, strict=True):
        inside &= (row >= 0) & (row <= size - 1)
    indices = np.stack([row[inside] for row in rows])
    sampled = ndimage.map_coordinates(moving.array, indices, order=1)
    both = sampled > 0
    # What the smaller volume could share at most, were it wholly inside the larger one.
    smaller = min(fixed.signal_mm3, moving.signal_mm3 / abs(np.linalg.det(to_moving[:3, :3])))
    if smaller == 0:
        return 0.0
    shared = np.count_nonzero(both) / signal_voxels * fixed.signal_mm3
    overlap = min(1.0, shared / smaller)
    if overlap < LEAST_OVERLAP:
        return 0.0
    return float(overlap) * _normalised_information(fixed.array[inside][both], sampled[both])


def _normalised_information(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    counts = np.bincount(_bin(a) * BINS + _bin(b), minlength=BINS * BINS)
    joint = counts.reshape(BINS, BINS) / a.size
    entropy_a, entropy_b = _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))
    if entropy_a + entropy_b == 0:
        return 0.0
    return 2 * (entropy_a + entropy_b - _entropy(joint.ravel())) / (entropy_a + entropy_b)


def _bin(values: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.minimum((values * BINS).astype(np.intp), BINS - 1)


def _entropy(probability: NDArray[Any]) -> float:
    positive = probability[probability > 0]
    return float(-(positive * np.log(positive)).sum())
