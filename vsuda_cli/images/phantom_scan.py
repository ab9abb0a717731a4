"""What a scanner makes of a made-up head: grid, contrast, bias field, Rician noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vsuda_cli.config import CLASSES
from vsuda_cli.images.phantom_anatomy import (
    FINE_MIDDLE_MM,
    FINE_REACH_MM,
    STRUCTURES,
    Anatomy,
    Tissue,
    average_anatomy,
    ear_box_mm,
    paint_ear,
    paint_head,
    random_anatomy,
)
from vsuda_cli.images.phantom_canvas import Canvas

# The ears' fine grid has this many voxels for each of the scan's, along every axis.
FINER = 3
# Grey of each tissue in (ceT1, hrT2). No curve turns one column into the other: fluid and bone are
# equally dark in the first, tumour and sinus equally bright; the second tears both pairs apart.
GREYS = {
    Tissue.AIR: (0.01, 0.01),
    Tissue.FAT: (0.80, 0.60),
    Tissue.BONE: (0.08, 0.07),
    Tissue.FLUID: (0.14, 0.95),
    Tissue.GREY: (0.42, 0.55),
    Tissue.WHITE: (0.52, 0.40),
    Tissue.CEREBELLUM: (0.45, 0.50),
    Tissue.BRAINSTEM: (0.50, 0.38),
    Tissue.SINUS: (0.92, 0.10),
    Tissue.PERILYMPH: (0.27, 0.90),
    Tissue.COCHLEA: (0.27, 0.90),
    Tissue.MODIOLUS: (0.22, 0.62),
    Tissue.TUMOUR: (0.95, 0.47),
    Tissue.CYST: (0.30, 0.85),
    Tissue.NERVE: (0.40, 0.42),
    Tissue.EYE: (0.16, 0.92),
    Tissue.MUSCLE: (0.38, 0.25),
}
CONTRASTS = ("ceT1", "hrT2")


Number = TypeVar("Number", np.float32, np.uint8)


@dataclass(frozen=True)
class Grids:
    """What one contrast's scans are sampled on; each scan draws its own of everything."""

    # Voxels along x, y, z; one of these.
    matrices: tuple[tuple[int, int, int], ...]
    # Field of view along x in mm: smallest, largest. In-plane spacing is the field over the matrix.
    field_mm: tuple[float, float]
    # Distance of the slices in mm: smallest, largest.
    slice_mm: tuple[float, float]


@dataclass(frozen=True)
class Size:
    """How large scans are, and their tumours' smallest and largest diameter."""

    source: Grids
    target: Grids
    tumour_mm: tuple[float, float]


# Small sizes leave out the tumours that their voxels or their slabs cannot show. The full size is
# crossMoDA 2021's: ceT1 of 512 x 512, hrT2 of 448 x 448 or, rarer, 384 x 384 above 0.5 mm.
SIZES = {
    "tiny": Size(
        Grids(((176, 208, 60), (184, 216, 60)), (168.0, 184.0), (1.5, 1.6)),
        Grids(((176, 200, 44), (160, 184, 44), (192, 216, 44)), (168.0, 184.0), (1.5, 1.6)),
        (9.0, 28.0),
    ),
    "roi": Size(
        Grids(((320, 376, 56), (352, 412, 56)), (162.0, 180.0), (1.5, 1.6)),
        Grids(((340, 384, 44), (384, 432, 44)), (171.0, 187.0), (1.5, 1.6)),
        (4.0, 34.0),
    ),
    "full": Size(
        Grids(((512, 512, 120),), (205.0, 220.0), (1.0, 1.5)),
        Grids(((448, 448, 80), (448, 448, 80), (384, 384, 80)), (198.0, 223.0), (1.0, 1.5)),
        (2.0, 40.0),
    ),
}


@dataclass(frozen=True)
class Phantom:
    """A made-up scan: image (X, Y, Z), label map and RAS affine."""

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]


def make_scan(
    size: Size,
    contrast: str,
    random: np.random.Generator,
    structures: Sequence[str] = CLASSES,
) -> Phantom:
    """Return a random head as a `ceT1` or `hrT2` scan, its `structures` labelled 1, 2, ..."""
    anatomy = random_anatomy(random, *size.tumour_mm)
    grids = size.source if contrast == CONTRASTS[0] else size.target
    shape = grids.matrices[random.integers(len(grids.matrices))]
    pixel = random.uniform(*grids.field_mm) / shape[0]
    affine = _scan_affine(shape, (pixel, pixel, random.uniform(*grids.slice_mm)), random)
    # The head lies in the scanner with its own proportions.
    proportions = np.diag([*random.normal(1, 0.035, 3).clip(0.92, 1.08), 1.0])
    to_anatomy = np.linalg.inv(proportions) @ affine
    image, label = _scan(anatomy, to_anatomy, shape, contrast, structures, random)
    return Phantom(image, label, affine)


def make_atlas(size: Size) -> Phantom:
    """Return the average head in ceT1; its label is the box of the right ear."""
    random = np.random.default_rng(0)
    shape = size.source.matrices[0]
    pixel = size.source.field_mm[0] / shape[0]
    affine = np.diag([pixel, pixel, size.source.slice_mm[0], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + (0, 0, -6)
    image, _ = _scan(average_anatomy(), affine, shape, CONTRASTS[0], (), random)
    low, high = (np.linalg.inv(affine) @ (*corner, 1.0) for corner in ear_box_mm(size.tumour_mm[1]))
    box = np.zeros(shape, dtype=np.uint8)
    start = np.maximum(np.floor(low[:3]), 0).astype(int)
    stop = np.ceil(high[:3]).astype(int) + 1
    box[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = 1
    return Phantom(image, box, affine)


def _scan_affine(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return a tilted grid whose middle lies near the ears' height."""
    tilt = Rotation.from_euler("xyz", random.uniform(-6, 6, 3), degrees=True).as_matrix()
    middle = random.uniform(-4, 4, 3) - np.array((0.0, 0.0, 8.0))
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(spacing)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _scan(
    anatomy: Anatomy,
    to_anatomy: NDArray[np.float64],
    shape: tuple[int, int, int],
    contrast: str,
    structures: Sequence[str],
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return image and label map of a head on a grid given in anatomical mm."""
    canvas = Canvas(np.zeros(shape, dtype=np.uint8), to_anatomy)
    paint_head(canvas, anatomy)
    for side in (-1, 1):
        paint_ear(canvas, anatomy, side)
    column = CONTRASTS.index(contrast)
    greys = np.array([GREYS[tissue][column] for tissue in Tissue], dtype=np.float32)
    greys *= random.uniform(0.93, 1.07, len(greys)).astype(np.float32)
    labels = np.zeros(len(Tissue), dtype=np.uint8)
    for value, structure in enumerate(structures, start=1):
        labels[list(STRUCTURES[structure])] = value
    image, label = greys[canvas.tissue], labels[canvas.tissue]
    for side in (-1, 1):
        box, fine = _fine_ear(canvas, anatomy, to_anatomy, side)
        if fine is not None:
            image[box] = _block_mean(greys[fine.tissue])
            label[box] = _block_label(labels[fine.tissue], len(structures) + 1)
    return _acquire(image, random), label


def _fine_ear(
    canvas: Canvas, anatomy: Anatomy, to_anatomy: NDArray[np.float64], side: int
) -> tuple[tuple[slice, ...], Canvas | None]:
    """Return the box of an ear and its tissue on a finer grid; None where it is out of view."""
    low, high = canvas.box(np.array(FINE_MIDDLE_MM) * (side, 1, 1), FINE_REACH_MM)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    if (low >= high).any():
        return box, None
    tissue = canvas.tissue[box]
    for axis in range(3):
        tissue = tissue.repeat(FINER, axis=axis)
    affine = to_anatomy.copy()
    affine[:3, :3] /= FINER
    first = low - (FINER - 1) / (2 * FINER)
    affine[:3, 3] += to_anatomy[:3, :3] @ first
    fine = Canvas(tissue, affine)
    paint_ear(fine, anatomy, side)
    return box, fine


def _blocks(fine: NDArray[Number]) -> NDArray[Number]:
    """Return (X, Y, Z, FINER**3): the fine voxels of each scan voxel."""
    x, y, z = (n // FINER for n in fine.shape)
    split = fine.reshape(x, FINER, y, FINER, z, FINER)
    return split.transpose(0, 2, 4, 1, 3, 5).reshape(x, y, z, -1)


def _block_mean(fine: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = _blocks(fine).mean(axis=-1, dtype=np.float32)
    return mean


def _block_label(fine: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Return the label, of 0 to `count` - 1, that most fine voxels have."""
    shares = [(_blocks(fine) == value).sum(axis=-1) for value in range(count)]
    most: NDArray[np.uint8] = np.argmax(shares, axis=0).astype(np.uint8)
    return most


def _acquire(image: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return the image blurred, with texture, a bias field, Rician noise, and scanner units."""
    texture = ndimage.gaussian_filter(random.normal(size=image.shape).astype(np.float32), 1.0)
    sharp = ndimage.gaussian_filter(image, 0.45) * (1 + 0.25 * texture)
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    a, b, c, d, e, f = random.uniform(-0.15, 0.15, 6).astype(np.float32)
    biased = sharp * np.exp(a * x + b * y + c * z + d * x * y + e * x**2 + f * y**2)
    level = random.uniform(0.015, 0.03)
    noise = random.normal(scale=level, size=(2, *image.shape)).astype(np.float32)
    magnitude = np.hypot(biased + noise[0], noise[1])
    units: NDArray[np.float32] = np.round(magnitude * random.uniform(400, 1200))
    return units.astype(np.float32)
