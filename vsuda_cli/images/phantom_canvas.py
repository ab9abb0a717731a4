"""A grid of tissue numbers on which simple solids are painted, each only where it can reach."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Mask = NDArray[np.bool_]
Vector = Sequence[float] | NDArray[np.float64]
# Planes across the first axis that are painted at once.
PLANES = 8


class Canvas:
    """Tissue numbers (X, Y, Z) with the affine from voxels to anatomical mm."""

    def __init__(self, tissue: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
        self.tissue = tissue
        self._affine = affine
        self._inverse = np.linalg.inv(affine)

    def ellipsoid(self, middle: Vector, radii: Vector, tissue: int) -> None:
        """Paint an ellipsoid with axes along x, y, z."""
        wide = np.asarray(radii, dtype=np.float32)

        def inside(points: Points) -> Mask:
            away = (points - np.asarray(middle, dtype=np.float32)) / wide
            near: Mask = np.einsum("...i,...i", away, away) < 1
            return near

        self.paint(middle, radii, inside, tissue)

    def tube(self, path: NDArray[np.float64], radii: Vector | float, tissue: int) -> None:
        """Paint a round tube about a polyline (N, 3), with one radius a point or one for all."""
        thick = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(path),))
        for start, end, first, second in zip(path, path[1:], thick, thick[1:], strict=False):
            self._segment(start, end, float(first), float(second), tissue)

    def _segment(
        self,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        first: float,
        second: float,
        tissue: int,
    ) -> None:
        way = (end - start).astype(np.float32)
        length = float(way @ way) or 1.0

        def inside(points: Points) -> Mask:
            along = np.clip((points - start.astype(np.float32)) @ way / length, 0, 1)
            away = points - start.astype(np.float32) - along[..., None] * way
            radius = first + along * (second - first)
            near: Mask = np.einsum("...i,...i", away, away) < radius**2
            return near

        reach = np.abs(end - start) / 2 + max(first, second)
        self.paint((start + end) / 2, reach, inside, tissue)

    def paint(
        self, middle: Vector, reach: Vector, inside: Callable[[Points], Mask], tissue: int
    ) -> None:
        """Set `tissue` where `inside` holds, looking only within `reach` (3,) of the middle."""
        low, high = self.box(middle, reach)
        if (low >= high).any():
            return
        # A few planes at a time: positions of a whole head take a gigabyte.
        for first in range(low[0], high[0], PLANES):
            start = np.array((first, low[1], low[2]))
            stop = np.array((min(first + PLANES, high[0]), high[1], high[2]))
            box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            self.tissue[box][inside(self.points(start, stop))] = tissue

    def box(self, middle: Vector, reach: Vector) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Return where the voxels within `reach` (3,) mm of the middle start and stop, (3,) each.

        Outside the grid there are none: along some axis the start is not below the stop.
        """
        centre = self._inverse[:3, :3] @ np.asarray(middle) + self._inverse[:3, 3]
        extent = np.abs(self._inverse[:3, :3]) @ np.asarray(reach)
        low = np.maximum(np.floor(centre - extent), 0).astype(int)
        high = np.minimum(np.ceil(centre + extent) + 1, self.tissue.shape).astype(int)
        return low, high

    def points(self, low: NDArray[np.int_], high: NDArray[np.int_]) -> Points:
        """Return the anatomical positions (x, y, z, 3) of the voxels from `low` up to `high`."""
        affine = self._affine.astype(np.float32)
        i, j, k = (np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True))
        found: Points = np.empty((len(i), len(j), len(k), 3), dtype=np.float32)
        for axis, (along_i, along_j, along_k, origin) in enumerate(affine[:3]):
            plane = (i * along_i)[:, None] + (j * along_j)[None]
            one = found[..., axis]
            np.add(plane[..., None], k * along_k, out=one)
            one += origin
        return found
