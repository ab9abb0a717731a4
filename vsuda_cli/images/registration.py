"""Where an atlas' region lies in a scan: affine registration that knows when it failed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.affine_search import refine
from vsuda_cli.images.coarse_search import (
    MOST_TILTED,
    MOST_UPRIGHT,
    TILTED,
    UPRIGHT,
    improve,
    rank_starts,
)
from vsuda_cli.images.geometry import Affine, inverse, reflection, translation
from vsuda_cli.images.no_signal import with_no_signal_at_0
from vsuda_cli.images.similarity import Level, make_level, similarity

logger = logging.getLogger(__name__)

# Starts are compared at the coarse spacing, transforms are optimised and judged at the fine one.
COARSE_MM = 6.0
FINE_MM = 3.0
# The mirrored head starts from the other ear's result, but an atlas is not quite symmetric.
SIDEWAYS_MM = tuple(float(shift) for shift in range(-24, 25, 4))
# The roughly placed heads that are optimised further before a case is given up.
MOST_REFINED = 3
ITERATIONS = (60, 20)
# The second ear starts next to its goal.
ITERATIONS_FROM_NEAR = (20, 10)

# Plausible heads: adults' sizes differ by less than this, and nobody lies tilted further.
SCALE_RANGE = (0.75, 1.33)
LARGEST_ANISOTROPY = 1.4
LARGEST_ROTATION_DEGREES = 40.0
# Similarities (see there): other contrast, other head, thin slabs reach 0.06 to 0.09 when right,
# whole heads 0.11 and more; noise stays below 0.02. Below the second number tilted starts are tried
# too: of 48 slabs of real heads tilted by 20 and 30 degrees, in whole heads of another contrast, 11
# were matched in a wrong place at 0.03 to 0.08, and 1 is (tests/benchmarks/registration.py tilted).
LEAST_SIMILARITY = 0.03
GOOD_SIMILARITY = 0.1
# How much more alike a tilted one must be: right ones were by 1.25 and more there, while thin slabs
# that do not lie tilted came to lie up to 5 mm further off for 1.01 to 1.05.
TILTED_GAIN = 1.15
# Below this most registrations of real heads were wrong, also where all of a call are alike: thin
# slabs tilted by 30 degrees in the atlas of another. Right ones reach more between contrasts, too,
# but for some whole heads in the atlas of a slab.
DOUBTFUL_SIMILARITY = 0.06
# The second ear must come out nearly as alike as the first.
LEAST_SHARE_OF_FIRST = 0.8


@dataclass(frozen=True)
class Template:
    """An atlas at the spacings that registration works at."""

    coarse: Level
    fine: Level


@dataclass(frozen=True)
class Registration:
    """A transform found for one ear; `to_atlas` (4x4) maps the scan's world to the atlas', RAS mm.

    For the left ear it holds the reflection that shows the left ear in the place of the right.
    """

    to_atlas: Affine
    similarity: float
    start: str


def make_template(array: NDArray[np.float32], affine: Affine) -> Template:
    """Prepare a volume (canonical axis order) for registration.

    Borders without a signal, as of an atlas that is padded to hold its region, are cut off: volumes
    and middles, by which the search goes, are those of the anatomy.
    """
    array = with_no_signal_at_0(array)
    signal = array != 0
    if signal.any():
        box = ndimage.find_objects(signal.astype(np.uint8))[0]
        start = np.array([side.start for side in box], dtype=np.float64)
        array, affine = array[box], affine @ translation(start)
    return Template(make_level(array, affine, COARSE_MM), make_level(array, affine, FINE_MM))


def mirror_template(scan: Template) -> tuple[Template, Affine]:
    """Return a scan with left and right exchanged, and the reflection (4x4) of its world."""
    flipped = Template(_flip(scan.coarse), _flip(scan.fine))
    return flipped, reflection(scan.fine.affine, scan.fine.array.shape[0])


def register_right(where: object, scan: Template, atlas: Template) -> Registration:
    """Register a scan to the atlas, right ear on right ear.

    Where that does not end well, starts of heads that lie tilted are tried too. Raises VsudaError
    if none ends in a plausible transform with enough similarity.
    """
    upright = rank_starts(scan.coarse, atlas.coarse, UPRIGHT, MOST_UPRIGHT)
    best, reason = _search(where, scan, atlas, upright)
    if best is None or best.similarity < GOOD_SIMILARITY:
        tilted = [
            start
            for group in TILTED
            for start in rank_starts(scan.coarse, atlas.coarse, group, MOST_TILTED)
        ]
        least = LEAST_SIMILARITY
        if best is not None:
            least = max(least, similarity(scan.coarse, atlas.coarse, best.to_atlas))
        other, _ = _search(where, scan, atlas, tilted, least)
        if best is None or (other and other.similarity > TILTED_GAIN * best.similarity):
            best = other
    if best is None:
        raise VsudaError(
            where,
            f"could not be registered to the atlas ({reason})",
            "look at the scan, or choose an atlas that resembles it more",
        )
    return best


def register_left(
    where: object, scan: Template, atlas: Template, right: Registration | None
) -> Registration:
    """Register the mirrored scan to the atlas, left ear on right ear.

    The search starts from the right ear's result, mirrored in the middle of the atlas; where that
    ends badly, or `right` is None, it starts anew. Raises VsudaError like register_right.
    """
    mirrored, exchange = mirror_template(scan)
    if right is not None:
        start = _best_sideways(mirrored, atlas, right.to_atlas, exchange)
        start, _ = improve(mirrored.coarse, atlas.coarse, start)
        found, problem = _refine(mirrored, atlas, start, "mirrored", ITERATIONS_FROM_NEAR)
        if problem is None and found.similarity >= LEAST_SHARE_OF_FIRST * right.similarity:
            return replace(found, to_atlas=found.to_atlas @ exchange)
    anew = register_right(where, mirrored, atlas)
    return replace(anew, to_atlas=anew.to_atlas @ exchange)


def implausible(matrix: Affine, value: float) -> str | None:
    """Say why a transform between heads (4x4, no reflection) cannot be right, or None."""
    left, scales, right = np.linalg.svd(matrix[:3, :3])
    if np.linalg.det(matrix[:3, :3]) <= 0:
        return "the transform turns the head inside out"
    if scales.min() < SCALE_RANGE[0] or scales.max() > SCALE_RANGE[1]:
        return f"it scales the head by {scales.min():.2f} to {scales.max():.2f}"
    if scales.max() / scales.min() > LARGEST_ANISOTROPY:
        return f"it stretches the head by {scales.max() / scales.min():.2f} in one direction"
    angle = np.degrees(Rotation.from_matrix(left @ right).magnitude())
    if angle > LARGEST_ROTATION_DEGREES:
        return f"it turns the head by {angle:.0f} degrees"
    if value < LEAST_SIMILARITY:
        return f"the similarity is {value:.3f}, below {LEAST_SIMILARITY}"
    return None


def _search(
    where: object,
    scan: Template,
    atlas: Template,
    starts: Sequence[Affine],
    least: float = LEAST_SIMILARITY,
) -> tuple[Registration | None, str]:
    """Return the most alike plausible transform, None if there is none, and why.

    The starts are improved on coarse grids; the best goes on to an affine optimisation, and the
    next ones too as long as none has become good. On coarse grids they must reach `least`.
    """
    rough = [improve(scan.coarse, atlas.coarse, start) for start in starts]
    numbered = sorted(enumerate(rough, 1), key=lambda item: -item[1][1])
    best: Registration | None = None
    uniform = np.ptp(scan.coarse.array) == 0
    reason = "all its voxels have the same value" if uniform else "no start overlaps the atlas"
    for number, (start, rough_value) in numbered[:MOST_REFINED]:
        if rough_value < least:
            reason = f"the similarity is {rough_value:.3f}, below {least:.3g}"
            break
        found, problem = _refine(scan, atlas, start, f"start {number}", ITERATIONS)
        reason = problem or reason
        logger.debug("%s: %s: similarity %.3f", where, found.start, found.similarity)
        if problem is None and (best is None or found.similarity > best.similarity):
            best = found
        if best is not None and best.similarity >= GOOD_SIMILARITY:
            break
    return best, reason


def _refine(
    scan: Template, atlas: Template, start: Affine, name: str, iterations: tuple[int, int]
) -> tuple[Registration, str | None]:
    """Optimise all twelve parameters; return the better of start and result, and what is wrong."""
    candidates = [(start, name + ", unrefined")]
    # Every sample of the smaller volume should fall into the larger one: a slab into a head.
    if scan.fine.volume_mm3 <= atlas.fine.volume_mm3:
        found = refine(scan.fine, atlas.fine, start, iterations)
    else:
        back = inverse(start)
        found = inverse(refine(atlas.fine, scan.fine, back, iterations))
    candidates.append((found, name))
    judged = []
    for matrix, origin in candidates:
        value = similarity(scan.fine, atlas.fine, matrix)
        judged.append((Registration(matrix, value, origin), implausible(matrix, value)))
    return max(judged, key=lambda pair: (pair[1] is None, pair[0].similarity))


def _best_sideways(mirrored: Template, atlas: Template, right: Affine, exchange: Affine) -> Affine:
    coarse = atlas.coarse
    in_atlas = reflection(coarse.affine, coarse.array.shape[0])
    start = in_atlas @ right @ inverse(exchange)
    shifted = []
    for shift in SIDEWAYS_MM:
        candidate = start.copy()
        candidate[0, 3] += shift
        shifted.append((similarity(mirrored.coarse, coarse, candidate), candidate))
    return max(shifted, key=lambda pair: pair[0])[1]


def _flip(level: Level) -> Level:
    return Level(np.ascontiguousarray(level.array[::-1]), level.affine)
