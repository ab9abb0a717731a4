"""The one way in and out for images: checked headers, exact labels, atomic deterministic files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic, compression
from vsuda_cli.io.header import (
    UNREADABLE,
    checked_affine,
    column_norms,
    declared_bytes,
    farthest_apart_mm,
    read_header,
    scale_factors,
)
from vsuda_cli.io.probabilities import problem_with

LARGEST_LABEL = 255
# What is stored in 16 bit lies between 0 and so many steps.
FRACTION_STEPS = 65535
# Single precision moves a scan's corners by less, and what is to be seen begins above.
GRID_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Geometry:
    """What a header says: shape in voxels, and `affine` 4x4 from voxel index to RAS mm."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """An array in memory with its `affine` (4x4, voxel index to RAS mm) and where it came from."""

    array: NDArray[Any]
    affine: NDArray[np.float64]
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in voxels."""
        return self.array.shape

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel size along each array axis: the affine's column norms."""
        return column_norms(self.affine)


def read_geometry(path: Path) -> Geometry:
    """Read and check a header; the data is not touched."""
    header = read_header(path)
    return Geometry(_spatial_shape(header.get_data_shape()), checked_affine(header, path))


def read_voxels(header: Any, path: Path, dtype: type[np.generic] | None = None) -> NDArray[Any]:
    """Return the voxels, after the whole file was read (and, compressed, its checksum verified).

    They are of `dtype`, or where that is None as the header's scale factor makes them. Raises
    VsudaError for a file that is truncated or damaged.
    """
    shape, offset = header.get_data_shape(), int(header.get_data_offset())
    slope, intercept = scale_factors(header)
    try:
        raw = compression.read_whole(path, offset + declared_bytes(header))
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(raw, header.get_data_dtype(), count, offset)
        array = array.reshape(shape, order="F")
        if dtype and array.dtype.kind in "iu" and slope != 1 and intercept == 0:
            # Piece by piece: double precision of the whole takes three times as long.
            found = np.empty(array.shape, dtype, order="F")
            np.multiply(array, slope, out=found, dtype=np.float64, casting="same_kind")
            return found
        return np.asarray(apply_read_scaling(array, slope, intercept), dtype=dtype)
    except UNREADABLE as error:
        raise VsudaError(path, f"is truncated or damaged ({error})", "copy it again") from error


def load_image(path: Path) -> Volume:
    """Load a 3D image as float32. NaN, Inf, 4D, bad geometry and damaged files are refused."""
    header = read_header(path)
    affine = checked_affine(header, path)
    array = _three_dimensional(read_voxels(header, path, np.float32), path)
    if not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise VsudaError(path, f"holds {count} NaN or infinite voxels", "repair: vsuda check --fix")
    return Volume(array, affine, path)


def load_label(path: Path, class_count: int | None = None) -> Volume:
    """Load a 3D label map as uint8, exactly.

    Raises VsudaError for values that are no integers, or not below `class_count` (background
    included) when it is given.
    """
    header = read_header(path)
    affine = checked_affine(header, path)
    array = _three_dimensional(read_voxels(header, path), path)
    if array.dtype.kind not in "iub":
        rounded = np.rint(array)
        # A scale factor of 1/255 or a float header moves a whole number by rounding only.
        if not (np.isfinite(array).all() and np.allclose(array, rounded, atol=1e-3)):
            raise VsudaError(path, "holds values that are no whole numbers", "give a label map")
        array = rounded
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    allowed = LARGEST_LABEL if class_count is None else class_count - 1
    if low < 0 or high > allowed:
        wrong = int(low if low < 0 else high)
        raise VsudaError(
            path,
            f"holds label {wrong}",
            f"labels go from 0 to {allowed}: fix it, or name all classes",
        )
    return Volume(array.astype(np.uint8), affine, path)


def load_label_on(image: Volume, path: Path, class_count: int | None = None) -> Volume:
    """Load a label map of an image, as load_label does, with the image's affine.

    Within the tolerance both affines are the same place, and rounding must not make two grids of
    them. Raises VsudaError, too, if the label map lies on another grid than the image.
    """
    label = load_label(path, class_count)
    if not same_grid(image, label):
        problem = f"is on another grid than {image.path.name}"
        raise VsudaError(path, problem, "resample the label")
    return Volume(label.array, image.affine, path)


def load_probability(path: Path) -> Volume:
    """Load a probability map (x, y, z, class) as float32.

    Raises VsudaError, too, for values that are none: of each voxel they must sum up to 1.
    """
    header = read_header(path)
    affine = checked_affine(header, path)
    array = read_voxels(header, path, np.float32)
    if array.ndim != 4 or array.shape[3] < 2:
        raise VsudaError(path, f"has shape {array.shape}", "give a 4D map (x, y, z, class)")
    problem = problem_with(array)
    if problem:
        raise VsudaError(path, problem, "make it again with vsuda predict")
    return Volume(array, affine, path)


def save_image(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Save an image; floats as float32, integers of up to 32 bits in their own type."""
    as_is = array.dtype.kind in "iu" and array.dtype.itemsize <= 4
    kept = array if as_is else array.astype(np.float32)
    _save(path, kept, affine)


def save_label(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Save a label map as unsigned 8 bit integers, without scale factors."""
    _save(path, array.astype(np.uint8), affine, runs=True)


def save_fractions(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Save values in [0, 1] as unsigned 16 bit with a scale factor.

    Probabilities (x, y, z, class) or a pseudo-image (x, y, z): half the bytes of float32, whose
    last bits say nothing there and take most of the time to compress.
    """
    steps = np.clip(array, 0, 1).astype(np.float32, copy=False)
    steps *= FRACTION_STEPS
    np.rint(steps, out=steps)
    _save(path, steps.astype(np.uint16), affine, slope=1 / FRACTION_STEPS)


def same_grid(a: Volume | Geometry, b: Volume | Geometry) -> bool:
    """Tell whether two volumes have the same shape (first three axes) and lie in the same place."""
    if a.shape[:3] != b.shape[:3]:
        return False
    return farthest_apart_mm(a.affine, b.affine, a.shape) <= GRID_TOLERANCE_MM


def is_whole(path: Path) -> bool:
    """Tell whether a file can be read to its end; a NIfTI file must hold all its voxels."""
    try:
        if path.name.endswith((".nii", ".nii.gz")):
            read_voxels(read_header(path), path)
            return True
        return path.stat().st_size > 0
    except (VsudaError, OSError):
        return False


def _spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return tuple(int(n) for n in shape)


def _three_dimensional(array: NDArray[Any], path: Path) -> NDArray[Any]:
    shape = _spatial_shape(array.shape)
    if len(shape) != 3:
        raise VsudaError(path, f"has shape {array.shape}", "give a 3D volume")
    return array.reshape(shape)


def _save(
    path: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    slope: float = 1.0,
    runs: bool = False,
) -> None:
    # The header below is of this machine's byte order.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    # Laid out here: nibabel would rescale the array by the slope, and copies it several times.
    header = image.header.copy()
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header["scl_slope"], header["scl_inter"] = slope, 0
    # array.tobytes(order="F") takes several times as long, while no other thread gets its turn.
    voxels = np.asfortranarray(array).ravel(order="K").view(np.uint8).data
    payload = b"".join((header.binaryblock, bytes(4), voxels))
    if compression.is_compressed(path):
        payload = compression.compress(payload, runs=runs)
    atomic.write_bytes(path, payload)
