"""Where an atlas' region lies in a scan: affine registration that knows when it failed."""

import itertools
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.affine_search import refine
from vsuda_cli.images.geometry import Affine, inverse, reflection
from vsuda_cli.images.similarity import Level, make_level, similarity

logger = logging.getLogger(__name__)

# Starts are compared at the coarse spacing, transforms are optimised and judged at the fine one.
COARSE_MM = 6.0
FINE_MM = 3.0
# Where a thin slab lies in a head cannot be told from centres: heights, depths and nods are tried.
START_HEIGHTS_MM = (-60.0, -48.0, -36.0, -24.0, -12.0, 0.0, 12.0, 24.0, 36.0, 48.0, 60.0)
START_DEPTHS_MM = (-16.0, 0.0, 16.0)
START_NODS_DEGREES = (-20.0, 0.0, 20.0)
# The mirrored head starts from the other ear's result, but an atlas is not quite symmetric.
SIDEWAYS_MM = tuple(float(shift) for shift in range(-24, 25, 4))
# How many starts are optimised before a case is given up, and how far apart they must be.
MOST_STARTS = 5
START_DISTANCE_MM = 15.0
RIGID_ITERATIONS = (60, 20)
AFFINE_ITERATIONS = (60, 20)
SHRINK_FACTORS = (2, 1)

# Plausible heads: adults' sizes differ by less than this, and nobody lies tilted further.
SCALE_RANGE = (0.75, 1.33)
LARGEST_ANISOTROPY = 1.4
LARGEST_ROTATION_DEGREES = 40.0
# Normalised mutual information: other contrast, other head, thin slabs reach 0.07 to 0.1 when
# right; noise and a wrong place stay below the first number. Above the second no start is retried.
LEAST_SIMILARITY = 0.03
GOOD_SIMILARITY = 0.06


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
    """Prepare a volume (canonical axis order) for registration."""
    return Template(make_level(array, affine, COARSE_MM), make_level(array, affine, FINE_MM))


def mirror_template(scan: Template) -> tuple[Template, Affine]:
    """Return a scan with left and right exchanged, and the reflection (4x4) of its world."""
    flipped = Template(_flip(scan.coarse), _flip(scan.fine))
    return flipped, reflection(scan.fine.affine, scan.fine.array.shape[0])


def register_right(where: object, scan: Template, atlas: Template) -> Registration:
    """Register a scan to the atlas, right ear on right ear.

    The most promising starts are optimised, rigidly and then affinely, until one is good. Raises
    VsudaError if none ends in a plausible transform with enough similarity.
    """
    best: Registration | None = None
    reason = "no start overlaps the atlas"
    for number, start in enumerate(_rank_starts(scan, atlas), 1):
        rigid = _optimise(scan, atlas, start, "Rigid", RIGID_ITERATIONS)
        found = _optimise(scan, atlas, rigid, "Affine", AFFINE_ITERATIONS)
        value = similarity(scan.fine, atlas.fine, found)
        reason = implausible(found, value) or reason
        logger.debug("%s: start %d: similarity %.3f", where, number, value)
        if implausible(found, value) is None and (best is None or value > best.similarity):
            best = Registration(found, value, f"start {number}")
        if best is not None and best.similarity >= GOOD_SIMILARITY:
            return best
    if best is None:
        raise _failure(where, reason)
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
        found = _optimise(mirrored, atlas, start, "Affine", AFFINE_ITERATIONS)
        value = similarity(mirrored.fine, atlas.fine, found)
        # As good as the other ear, but for what differs between the two sides of a head.
        if implausible(found, value) is None and value >= 0.8 * right.similarity:
            return Registration(found @ exchange, value, "mirrored")
    anew = register_right(where, mirrored, atlas)
    return Registration(anew.to_atlas @ exchange, anew.similarity, anew.start)


def implausible(matrix: Affine, value: float) -> str | None:
    """Say why a transform between heads (4x4, no reflection) cannot be right, or None."""
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if np.linalg.det(matrix[:3, :3]) <= 0:
        return "the transform turns the head inside out"
    if scales.min() < SCALE_RANGE[0] or scales.max() > SCALE_RANGE[1]:
        return f"it scales the head by {scales.min():.2f} to {scales.max():.2f}"
    if scales.max() / scales.min() > LARGEST_ANISOTROPY:
        return f"it stretches the head by {scales.max() / scales.min():.2f} in one direction"
    left, _, right = np.linalg.svd(matrix[:3, :3])
    angle = np.degrees(Rotation.from_matrix(left @ right).magnitude())
    if angle > LARGEST_ROTATION_DEGREES:
        return f"it turns the head by {angle:.0f} degrees"
    if value < LEAST_SIMILARITY:
        return f"the similarity is {value:.3f}, below {LEAST_SIMILARITY}"
    return None


def _failure(where: object, reason: str) -> VsudaError:
    return VsudaError(
        where,
        f"could not be registered to the atlas ({reason})",
        "look at the scan, or choose an atlas that resembles it more",
    )


def _optimise(
    scan: Template, atlas: Template, start: Affine, kind: str, iterations: tuple[int, ...]
) -> Affine:
    # Every sample of the smaller volume should fall into the larger one: a slab into a head.
    if scan.fine.volume_mm3 <= atlas.fine.volume_mm3:
        return refine(scan.fine, atlas.fine, start, kind, iterations, SHRINK_FACTORS)
    back = refine(atlas.fine, scan.fine, inverse(start), kind, iterations, SHRINK_FACTORS)
    return inverse(back)


def _rank_starts(scan: Template, atlas: Template) -> list[Affine]:
    """Return the starts with the highest similarity, best first, at most MOST_STARTS."""
    fixed, moving = scan.coarse, atlas.coarse
    scored = []
    for height, depth, nod in itertools.product(
        START_HEIGHTS_MM, START_DEPTHS_MM, START_NODS_DEGREES
    ):
        start = np.eye(4)
        start[:3, :3] = Rotation.from_euler("x", nod, degrees=True).as_matrix()
        goal = moving.mass_centre_mm + np.array((0.0, depth, height))
        start[:3, 3] = goal - start[:3, :3] @ fixed.mass_centre_mm
        scored.append((similarity(fixed, moving, start), start))
    scored.sort(key=lambda pair: -pair[0])
    chosen: list[Affine] = []
    middle = np.append(fixed.centre_mm, 1)
    for value, start in scored:
        apart = [np.linalg.norm((start - other) @ middle) for other in chosen]
        if value > 0 and len(chosen) < MOST_STARTS and all(d > START_DISTANCE_MM for d in apart):
            chosen.append(start)
    return chosen


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
