"""The rough place of one head in another: many starts, each improved on coarse grids."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.spatial.transform import Rotation

from vsuda_cli.images.geometry import Affine
from vsuda_cli.images.similarity import Level, similarity

# Degrees about the axes to the right, up and to the front.
Tilt = tuple[float, float, float]

# Where a thin slab lies in a head cannot be told from centres: heights and depths are tried.
START_HEIGHTS_MM = (-60.0, -48.0, -36.0, -24.0, -12.0, 0.0, 12.0, 24.0, 36.0, 48.0, 60.0)
START_DEPTHS_MM = (-16.0, 0.0, 16.0)
# And ways to lie in a scanner: degrees of a nod, a turn to the side and a tilt of the ear to the
# shoulder.
UPRIGHT: tuple[Tilt, ...] = ((-20.0, 0.0, 0.0), (0.0, 0.0, 0.0), (20.0, 0.0, 0.0))
# Few lie otherwise: each group is tried for itself, lest the best starts of one be all there is.
TILTED: tuple[tuple[Tilt, ...], ...] = (
    *(tuple((nod, turn, 0.0) for nod, _, _ in UPRIGHT) for turn in (-25.0, 25.0)),
    *(tuple((nod, 0.0, tilt) for nod, _, _ in UPRIGHT) for tilt in (-25.0, 25.0)),
    ((-35.0, 0.0, 0.0),),
    ((35.0, 0.0, 0.0),),
)
# How many of the starts are improved, in all or of each group, and how far apart their volumes'
# middles must be.
MOST_UPRIGHT, MOST_TILTED = 5, 3
START_DISTANCE_MM = 10.0
# Moves of the first line searches: mm along x, y, z; degrees about them; percent of size.
FIRST_MOVES = (4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0)
LARGEST_TURN_DEGREES = 35.0
LARGEST_GROWTH_PERCENT = 20.0
ROUNDS = 6


def rank_starts(fixed: Level, moving: Level, tilts: Sequence[Tilt], most: int) -> list[Affine]:
    """Return the starts (4x4, fixed world to moving world) of highest similarity, best first.

    At most `most`, and only such that the volumes overlap. A tilt turns the fixed volume about the
    axes to the right, then up, then to the front.
    """
    scored = []
    for height, depth, tilt in itertools.product(START_HEIGHTS_MM, START_DEPTHS_MM, tilts):
        start = np.eye(4)
        start[:3, :3] = Rotation.from_euler("xzy", tilt, degrees=True).as_matrix()
        goal = moving.mass_centre_mm + np.array((0.0, depth, height))
        start[:3, 3] = goal - start[:3, :3] @ fixed.mass_centre_mm
        scored.append((similarity(fixed, moving, start), start))
    scored.sort(key=lambda pair: -pair[0])
    chosen: list[Affine] = []
    for value, start in scored:
        apart = [distance_mm(fixed, start, other) for other in chosen]
        if value > 0 and len(chosen) < most and all(d > START_DISTANCE_MM for d in apart):
            chosen.append(start)
    return chosen


def improve(fixed: Level, moving: Level, start: Affine) -> tuple[Affine, float]:
    """Return the similarity transform near `start` that makes two volumes most alike, and how much.

    Powell's line searches over three shifts, three rotations and one scale. On coarse grids the
    measure takes well under a millisecond, and it counts the overlap, which keeps thin slabs from
    sliding off each other as they do under mutual information alone.
    """
    centre = fixed.centre_mm
    goal = start[:3, :3] @ centre + start[:3, 3]
    left, scales, right = np.linalg.svd(start[:3, :3])
    turns = Rotation.from_matrix(left @ right).as_euler("xyz", degrees=True)
    growth = 100 * float(np.log(scales).mean())

    def matrix(parameters: NDArray[np.float64]) -> Affine:
        moved = np.eye(4)
        rotation = Rotation.from_euler("xyz", parameters[3:6], degrees=True).as_matrix()
        moved[:3, :3] = rotation * np.exp(parameters[6] / 100)
        moved[:3, 3] = goal + parameters[:3] - moved[:3, :3] @ centre
        return moved

    def cost(parameters: NDArray[np.float64]) -> float:
        turned = float(np.abs(parameters[3:6]).max())
        if turned > LARGEST_TURN_DEGREES or abs(parameters[6]) > LARGEST_GROWTH_PERCENT:
            return 0.0
        return -similarity(fixed, moving, matrix(parameters))

    first = np.concatenate([np.zeros(3), turns, [growth]])
    found = optimize.minimize(
        cost,
        first,
        method="Powell",
        options={"xtol": 0.3, "ftol": 1e-3, "maxiter": ROUNDS, "direc": np.diag(FIRST_MOVES)},
    )
    return matrix(found.x), -float(found.fun)


def distance_mm(fixed: Level, one: Affine, other: Affine) -> float:
    """Return how far apart two transforms put the middle of a volume, in mm."""
    middle = np.append(fixed.centre_mm, 1.0)
    return float(np.linalg.norm((one - other) @ middle))
