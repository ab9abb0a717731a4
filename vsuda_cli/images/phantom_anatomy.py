"""A made-up head with two inner ears and a schwannoma, painted in anatomical mm.

x grows to the right, y to the front, z upwards; 0 is the middle of the head. The shapes are simple
solids placed where an atlas has them; sizes of the inner ear after human temporal bones.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.phantom_canvas import Canvas

# Around each ear shapes are finer than voxels: painted again on a finer grid.
FINE_MIDDLE_MM = (26.0, -9.0, -8.0)
FINE_REACH_MM = (18.0, 15.0, 13.0)

COCHLEA_TURNS = 2.5
CEREBRUM_MM = np.array((0, -3, 6), dtype=np.float32)
PORUS_MM = np.array((19.0, -11.0, -8.0))
FUNDUS_MM = np.array((27.5, -7.0, -8.0))
COCHLEA_MM = np.array((30.5, -2.0, -9.0))
VESTIBULE_MM = np.array((32.0, -9.5, -7.5))
# Tumours with a smaller radius stay in the canal.
SMALLEST_BALL_MM = 1.5
# How far, in radii, the cistern part's middle lies from the porus.
INWARD = 0.55
# Labyrinth, petrous bone and what registration may miss lie this far around the porus. Low, high.
AROUND_PORUS_MM = ((-23.0, -27.0, -25.0), (29.0, 27.0, 25.0))


class Tissue(IntEnum):
    """Everything that a scan shows in its own grey."""

    AIR = 0
    FAT = 1
    BONE = 2
    FLUID = 3
    GREY = 4
    WHITE = 5
    CEREBELLUM = 6
    BRAINSTEM = 7
    SINUS = 8
    PERILYMPH = 9
    COCHLEA = 10
    MODIOLUS = 11
    TUMOUR = 12
    CYST = 13
    NERVE = 14
    EYE = 15
    MUSCLE = 16


# What can be labelled, and the tissues that it is made of.
STRUCTURES = {
    "VS": (Tissue.TUMOUR, Tissue.CYST),
    "cochlea": (Tissue.COCHLEA, Tissue.MODIOLUS),
    "labyrinth": (Tissue.PERILYMPH,),
    "nerve": (Tissue.NERVE,),
}


@dataclass(frozen=True)
class Tumour:
    """A schwannoma: `side` +1 right, -1 left; `diameter_mm` of the part in the cistern.

    A lobe bulges from that part towards `lobe`, a unit vector.
    """

    side: int
    diameter_mm: float
    elongation: float
    cystic: bool
    lobe: tuple[float, float, float]


@dataclass(frozen=True)
class Anatomy:
    """One head's own proportions."""

    tumour: Tumour | None
    # Shift of both ears against the atlas position, mm.
    ear_shift_mm: tuple[float, float, float]
    cistern_width: float
    folds: NDArray[np.float64]


def random_anatomy(random: np.random.Generator, smallest_mm: float, largest_mm: float) -> Anatomy:
    """Draw a head with a tumour of a diameter between the two, small ones more often."""
    low, high = np.log(smallest_mm), np.log(largest_mm)
    lobe = random.normal(size=3)
    lobe /= np.linalg.norm(lobe)
    tumour = Tumour(
        side=1 if random.random() < 0.5 else -1,
        diameter_mm=float(np.exp(random.uniform(low, high))),
        elongation=random.uniform(0.8, 1.2),
        cystic=random.random() < 0.2,
        lobe=(float(lobe[0]), float(lobe[1]), float(lobe[2])),
    )
    shift = random.uniform(-1.5, 1.5, 3)
    return Anatomy(
        tumour,
        (float(shift[0]), float(shift[1]), float(shift[2])),
        random.uniform(0.9, 1.1),
        random.normal(size=(10, 4)),
    )


def average_anatomy() -> Anatomy:
    """Return the head of the atlas: no tumour, nothing out of place."""
    return Anatomy(None, (0.0, 0.0, 0.0), 1.0, np.random.default_rng(0).normal(size=(10, 4)))


def ear_box_mm(largest_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the corners (low, high) in mm of a box about the right ear and the largest tumour."""
    radius = largest_mm / 2
    middle = PORUS_MM + np.array((-INWARD * radius, -0.25 * radius, 0))
    # The longest axis is 1.2 or 1 / 0.8 radii, a lobe bulges 0.15 more; ears lie up to 1.5 mm off
    # and heads are up to a tenth larger.
    reach = 1.1 * np.array((1.15, 1.4, 1.45)) * radius + 3
    around = np.asarray(AROUND_PORUS_MM) + PORUS_MM
    return np.minimum(around[0], middle - reach), np.maximum(around[1], middle + reach)


def paint_head(canvas: Canvas, anatomy: Anatomy) -> None:
    """Paint everything but the ears: skin, skull, brain, cisterns, sinuses, eyes."""
    canvas.ellipsoid((0, -2, -2), (76, 96, 92), Tissue.FAT)
    canvas.ellipsoid((0, -2, -1), (72, 92, 88), Tissue.MUSCLE)
    canvas.ellipsoid((0, -3, 2), (70, 88, 84), Tissue.BONE)
    canvas.ellipsoid((0, -3, 4), (65, 83, 79), Tissue.FLUID)
    _paint_brain(canvas, anatomy)
    # The skull base: face in front, muscle below.
    canvas.ellipsoid((0, 52, -38), (44, 36, 36), Tissue.BONE)
    canvas.ellipsoid((0, 60, -32), (13, 22, 20), Tissue.AIR)
    canvas.ellipsoid((0, 20, -44), (50, 30, 26), Tissue.MUSCLE)
    canvas.ellipsoid((0, -2, -76), (66, 84, 47), Tissue.MUSCLE)
    canvas.ellipsoid((0, -48, -20), (52, 33, 27), Tissue.FLUID)
    canvas.ellipsoid((-24, -48, -21), (26, 29, 23), Tissue.CEREBELLUM)
    canvas.ellipsoid((24, -48, -21), (26, 29, 23), Tissue.CEREBELLUM)
    canvas.ellipsoid((0, -46, -18), (12, 22, 17), Tissue.CEREBELLUM)
    wide = 27 * anatomy.cistern_width
    canvas.ellipsoid((0, -12, -14), (wide, 17, 28), Tissue.FLUID)
    canvas.ellipsoid((0, -16, -18), (14, 12.5, 40), Tissue.BRAINSTEM)
    canvas.ellipsoid((0, -29, -14), (7, 4, 8), Tissue.FLUID)
    for side in (-1, 1):
        canvas.ellipsoid((30 * side, 68, -12), (17, 17, 16), Tissue.FAT)
        canvas.ellipsoid((30 * side, 72, -12), (11.5, 11.5, 11.5), Tissue.EYE)
        canvas.ellipsoid((11 * side, 18, -9), (5, 9, 5), Tissue.SINUS)
        canvas.ellipsoid((58 * side, -20, -18), (11, 17, 19), Tissue.BONE)
        canvas.ellipsoid((60 * side, -22, -20), (6, 9, 10), Tissue.AIR)
        path = np.array([(48, -30, -40), (47, -38, -20), (43, -58, -5), (22, -79, -2), (0, -83, 0)])
        canvas.tube(path * (side, 1, 1), 4.5, Tissue.SINUS)


def _paint_brain(canvas: Canvas, anatomy: Anatomy) -> None:
    def wave(points: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
        total = np.zeros(points.shape[:-1], dtype=np.float32)
        for x, y, z, phase in anatomy.folds.astype(np.float32):
            way = np.array((x, y, z), dtype=np.float32)
            total += np.sin(points @ way * np.float32(scale) + 3 * phase)
        return total

    def inside_shell(points: NDArray[np.float32]) -> NDArray[np.bool_]:
        away = (points - CEREBRUM_MM) / np.array((62, 80, 74), dtype=np.float32)
        # The falx and the middle fossa's floor keep the halves and the hindbrain apart.
        within: NDArray[np.bool_] = (np.einsum("...i,...i", away, away) < 1) & (
            points[..., 2] > -18 + 0.30 * np.abs(points[..., 1] + 3) * (points[..., 1] < -3)
        )
        return within

    def grey(points: NDArray[np.float32]) -> NDArray[np.bool_]:
        folded: NDArray[np.bool_] = wave(points, 0.16) < 4.2
        return inside_shell(points) & folded & (np.abs(points[..., 0]) > 1.2)

    def white(points: NDArray[np.float32]) -> NDArray[np.bool_]:
        away = (points - CEREBRUM_MM) / np.array((56, 73, 67), dtype=np.float32)
        deep: NDArray[np.bool_] = np.einsum("...i,...i", away, away) < 1
        folded: NDArray[np.bool_] = wave(points, 0.16) < 1.2
        return deep & folded & inside_shell(points) & (np.abs(points[..., 0]) > 3)

    reach = (63, 81, 75)
    canvas.paint((0, -3, 6), reach, grey, Tissue.GREY)
    canvas.paint((0, -3, 6), reach, white, Tissue.WHITE)
    for side in (-1, 1):
        canvas.ellipsoid((12 * side, 2, 20), (6, 28, 10), Tissue.FLUID)


def paint_ear(canvas: Canvas, anatomy: Anatomy, side: int) -> None:
    """Paint one ear: petrous bone, canal, labyrinth, cochlea and, on its side, the tumour."""
    shift = np.asarray(anatomy.ear_shift_mm)

    def at(point: NDArray[np.float64] | tuple[float, float, float]) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (np.asarray(point, dtype=np.float64) + shift) * (side, 1, 1)
        return moved

    tumour = anatomy.tumour
    canvas.tube(np.array([at((10, -14, -8)), at(PORUS_MM)]), 0.8, Tissue.NERVE)
    if tumour is not None and tumour.side == side:
        # Before the bone, which its part in the cistern leans on.
        _paint_cistern_part(canvas, tumour, at(PORUS_MM))
    ridge = np.array([at((22, -2, -9)), at((34, -8, -8)), at((50, -16, -9))])
    canvas.tube(ridge, np.array((8.0, 12.0, 14.0)), Tissue.BONE)
    funnel = at(PORUS_MM - 0.35 * (FUNDUS_MM - PORUS_MM))
    canal = np.array([funnel, at(PORUS_MM), at(FUNDUS_MM)])
    canvas.tube(canal, np.array((3.6, 2.8, 2.2)), Tissue.FLUID)
    canvas.tube(canal[1:], 0.8, Tissue.NERVE)
    canvas.ellipsoid(at(VESTIBULE_MM), (2.0, 3.0, 2.2), Tissue.PERILYMPH)
    for ring in _semicircular_canals():
        canvas.tube(np.array([at(point) for point in ring]), 0.7, Tissue.PERILYMPH)
    spiral = np.array([at(point) for point in cochlea_spiral()])
    turn = np.linspace(0, 1, len(spiral))
    apex, base = spiral[-1], at(COCHLEA_MM)
    canvas.tube(np.array([base, apex]), np.array((3.0, 1.0)), Tissue.MODIOLUS)
    canvas.tube(spiral, 1.25 - 0.45 * turn, Tissue.COCHLEA)
    if tumour is not None and tumour.side == side:
        _paint_canal_part(canvas, tumour, canal)


def cochlea_spiral() -> NDArray[np.float64]:
    """Return the middle line (N, 3) of a conical spiral of 2.5 turns, of the right ear, in mm."""
    turn = np.linspace(0, 1, 60)
    angle = 2 * np.pi * COCHLEA_TURNS * turn
    radius = 3.6 - 2.7 * turn
    axis = np.array((0.68, 0.72, 0.12)) / np.linalg.norm((0.68, 0.72, 0.12))
    across = np.cross(axis, (0, 0, 1.0))
    across /= np.linalg.norm(across)
    upward = np.cross(axis, across)
    line: NDArray[np.float64] = (
        COCHLEA_MM
        + (radius * np.cos(angle))[:, None] * across
        + (radius * np.sin(angle))[:, None] * upward
        + (3.4 * turn)[:, None] * axis
    )
    return line


def _semicircular_canals() -> list[NDArray[np.float64]]:
    """Return three rings (N, 3), nearly at right angles, behind the vestibule."""
    angle = np.linspace(0, 2 * np.pi, 25)
    middle = VESTIBULE_MM + np.array((1.5, -4.0, 0.5))
    flat = np.stack((np.cos(angle), np.sin(angle), 0 * angle), axis=-1) * 3.4
    front = np.stack((np.cos(angle), 0 * angle, np.sin(angle)), axis=-1) * 3.6
    edge = np.stack((0.4 * np.cos(angle), 0.9 * np.cos(angle), np.sin(angle)), axis=-1) * 3.6
    return [
        middle + np.array((1.0, -0.5, 0.0)) + flat,
        middle + np.array((0.0, 2.0, 3.2)) + front,
        middle + edge,
    ]


def _paint_cistern_part(canvas: Canvas, tumour: Tumour, porus: NDArray[np.float64]) -> None:
    """Paint, from 3 mm on, a ball with a lobe in the cistern, within a rim of fluid."""
    radius = tumour.diameter_mm / 2
    if radius <= SMALLEST_BALL_MM:
        return
    radii = np.array((1.0, tumour.elongation, 1 / tumour.elongation)) * radius
    # Large ones grow inwards from the porus and press the brainstem away.
    middle = porus - tumour.side * np.array((INWARD * radius, 0, 0)) + (0, -0.25 * radius, 0)
    lobe = middle + 0.5 * radii * np.asarray(tumour.lobe)
    for centre, size in ((middle, radii), (lobe, 0.65 * radii)):
        canvas.ellipsoid(centre, size + 1.4, Tissue.FLUID)
    for centre, size in ((middle, radii), (lobe, 0.65 * radii)):
        canvas.ellipsoid(centre, size, Tissue.TUMOUR)
    if tumour.cystic and radius > 4:
        # Away from the canal, whose part is solid.
        away = np.array((-0.25 * tumour.side, 0.2, 0.25)) * radius
        canvas.ellipsoid(middle + away, 0.45 * radii, Tissue.CYST)


def _paint_canal_part(canvas: Canvas, tumour: Tumour, canal: NDArray[np.float64]) -> None:
    """Paint the part in the canal (funnel, porus, fundus), which tumours of 6 mm and more fill."""
    funnel, porus, fundus = canal
    filled = porus + min(1.0, tumour.diameter_mm / 6) * 0.85 * (fundus - porus)
    radius = tumour.diameter_mm / 2
    if radius <= SMALLEST_BALL_MM:
        canvas.tube(np.array([porus, filled]), max(radius, 1.0), Tissue.TUMOUR)
    else:
        # Larger ones widen the porus and a little of the canal.
        thick = np.array((min(3.6, radius), 2.8, 2.5))
        canvas.tube(np.array([funnel, porus, filled]), thick, Tissue.TUMOUR)
