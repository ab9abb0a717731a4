"""Overlap and surface distances of two masks, as crossMoDA scored them.

Surface voxels are a mask minus its erosion with the 6-neighbourhood; beyond the image's border is
outside. Distances are between surface voxels' centres, in mm; `spacing_mm` (3,) are the norms of
the affine's columns, so that an oblique scan has the same spacing as a straight one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

# What the challenge scored where a structure was not found at all.
EMPTY_DISTANCE_MM = 350.0
# Voxels of a box for which a distance transform takes as long as one surface voxel in a search
# tree (measured, tests/benchmarks/metrics.py).
BOX_VOXELS_PER_POINT = 12

Mask = NDArray[np.bool_]
Voxels = NDArray[np.intp]
Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Surfaces:
    """Distances in mm: prediction's surface voxels to the reference's surface, and back."""

    to_reference: Distances
    to_prediction: Distances


def dice(prediction: Mask, reference: Mask) -> float:
    """Return 2 |A and B| / (|A| + |B|); 1 if both are empty, 0 if one is."""
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    if total == 0:
        return 1.0
    return 2.0 * int(np.count_nonzero(prediction & reference)) / total


def surfaces(prediction: Mask, reference: Mask, spacing_mm: NDArray[np.float64]) -> Surfaces | None:
    """Return both directed surface distances, or None if either mask is empty."""
    if not (prediction.any() and reference.any()):
        return None
    here, there = surface_voxels(prediction), surface_voxels(reference)
    shape = prediction.shape
    return Surfaces(
        _nearest(here, there, shape, spacing_mm), _nearest(there, here, shape, spacing_mm)
    )


def surface_voxels(mask: Mask) -> Voxels:
    """Return the indices (n, 3) of a mask's surface voxels."""
    if not mask.flags.c_contiguous and mask.T.flags.c_contiguous:
        return surface_voxels(mask.T)[:, ::-1]
    # Masks are mostly background: only the voxels in them are looked at.
    flat = mask.reshape(-1)
    places = np.flatnonzero(flat)
    indices = np.unravel_index(places, mask.shape)
    inner = np.ones(len(places), dtype=np.bool_)
    step = mask.size
    for axis, length in enumerate(mask.shape):
        step //= length
        for towards, edge in ((-step, 0), (step, length - 1)):
            inner &= (indices[axis] != edge) & flat.take(places + towards, mode="clip")
    return np.stack(indices, axis=1)[~inner]


def assd(found: Surfaces, pooled: bool = False) -> float:
    """Return the average symmetric surface distance in mm.

    The mean of the two directed means (the challenge's, and older MedPy's); `pooled`: the mean
    over all surface voxels of both (newer MedPy's and MONAI's).
    """
    if pooled:
        return float(np.concatenate([found.to_reference, found.to_prediction]).mean())
    return float((found.to_reference.mean() + found.to_prediction.mean()) / 2)


def hd95(found: Surfaces) -> float:
    """Return the larger of the two directed distances' 95th percentiles in mm (MONAI's HD95)."""
    ends = (np.percentile(side, 95) for side in (found.to_reference, found.to_prediction))
    return float(max(ends))


def surface_dice(found: Surfaces, tolerance_mm: float) -> float:
    """Return the share of both surfaces' voxels within `tolerance_mm` of the other surface.

    Nikolov et al. 2018, with voxels in place of surface areas, as MONAI computes it.
    """
    both = np.concatenate([found.to_reference, found.to_prediction])
    return float(np.count_nonzero(both <= tolerance_mm) / both.size)


def joint_box(*maps: NDArray[Any]) -> tuple[slice, ...]:
    """Return the smallest box, one voxel larger at each side, that holds all maps' labels.

    Without any label it is empty.
    """
    shape = maps[0].shape
    low, high = np.array(shape), np.zeros(3, dtype=int)
    for labels in maps:
        for axis, present in enumerate(_present(labels)):
            if present.size:
                low[axis] = min(low[axis], present[0])
                high[axis] = max(high[axis], present[-1] + 1)
    low, high = np.maximum(low - 1, 0), np.minimum(high + 1, shape)
    return tuple(slice(int(a), max(int(a), int(b))) for a, b in zip(low, high, strict=True))


def score_structure(
    prediction: Mask,
    reference: Mask,
    spacing_mm: NDArray[np.float64],
    *,
    pooled: bool = False,
    with_hd95: bool = False,
    with_volume: bool = False,
    tolerance_mm: float | None = None,
    with_detection: bool = False,
) -> dict[str, float | None]:
    """Return a structure's metrics by name; None where one is not defined.

    Where the reference lacks the structure, distances are not defined; where only the prediction
    does, they are EMPTY_DISTANCE_MM. Volumes are in ml; counts are of connected components.
    """
    scores: dict[str, float | None] = {"Dice": dice(prediction, reference)}
    found = surfaces(prediction, reference, spacing_mm)
    lost = EMPTY_DISTANCE_MM if reference.any() else None
    scores["ASSD"] = assd(found, pooled) if found else lost
    if with_hd95:
        scores["HD95"] = hd95(found) if found else lost
    if tolerance_mm is not None:
        # Dice is 1 or 0 where a mask is empty, and so is this.
        scores["SurfaceDice"] = surface_dice(found, tolerance_mm) if found else scores["Dice"]
    if with_volume:
        voxel_ml = float(np.prod(spacing_mm)) / 1000
        ours, theirs = (float(np.count_nonzero(m)) * voxel_ml for m in (prediction, reference))
        scores["Volume"] = ours
        scores["VolumeError"] = ours - theirs
    if with_detection:
        scores.update(detections(prediction, reference))
    return scores


def detections(prediction: Mask, reference: Mask) -> dict[str, float | None]:
    """Return how many components of the reference were found and missed, and how many are false.

    Components are connected by faces, edges or corners. One of the reference is found if any voxel
    of it is predicted; one of the prediction is false if no voxel of it is in the reference.
    """
    neighbours = ndimage.generate_binary_structure(3, 3)
    true, true_count = ndimage.label(reference, structure=neighbours)
    guessed, guessed_count = ndimage.label(prediction, structure=neighbours)
    overlap = prediction & reference
    found = len(np.unique(true[overlap]))
    hits = len(np.unique(guessed[overlap]))
    return {
        "Found": float(found),
        "Missed": float(true_count - found),
        "False": float(guessed_count - hits),
    }


def _nearest(
    ours: Voxels, theirs: Voxels, shape: tuple[int, ...], spacing_mm: NDArray[np.float64]
) -> Distances:
    """Return the distance of each of our surface voxels to the nearest of theirs."""
    distances: Distances
    if np.prod(shape) < BOX_VOXELS_PER_POINT * max(len(ours), len(theirs)):
        outside = np.ones(shape, dtype=np.bool_)
        outside[tuple(theirs.T)] = False
        field = ndimage.distance_transform_edt(outside, sampling=spacing_mm)
        distances = field[tuple(ours.T)]
    else:
        distances = cKDTree(theirs * spacing_mm).query(ours * spacing_mm)[0]
    return distances


def _present(labels: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Return for each axis the indices at which something is not zero."""
    if labels.flags.c_contiguous and not labels.flags.f_contiguous:
        return _present(labels.T)[::-1]
    # Files are read in Fortran order: whole slices are joined bit by bit, the fastest way.
    whole = labels.view(np.uint8) if labels.dtype == np.bool_ else labels
    plane = np.bitwise_or.reduce(whole, axis=2)
    first, second = np.any(plane, axis=1), np.any(plane, axis=0)
    third = np.bitwise_or.reduce(whole, axis=(0, 1))
    return [np.flatnonzero(present) for present in (first, second, third)]
