"""The one way in and out for images: checked headers, exact labels, atomic deterministic files."""

import gzip
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic

# Level 1 writes label maps and float images within a few percent of level 6, several times faster.
COMPRESSION_LEVEL = 1
# deflate cannot shrink data more than 1032 times; a header that claims more is lying.
LARGEST_DEFLATE_RATIO = 1032
LARGEST_LABEL = 255
# An 8 bit step is 1/255; K classes rounded one by one may miss the sum of 1 by K/2 steps.
PROBABILITY_STEPS = 65535
HEADER_BYTES = 544
SHEAR_TOLERANCE = 1e-3
SPACING_RANGE_MM = (1e-3, 1e3)


@dataclass(frozen=True)
class Geometry:
    """What a header says: shape in voxels, `affine` 4x4 from voxel index to RAS mm, stored type."""

    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    dtype: np.dtype[Any]

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel size along each array axis: the affine's column norms."""
        return _column_norms(self.affine)


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
        return _column_norms(self.affine)


def read_geometry(path: Path) -> Geometry:
    """Read and check a header; the data is not touched."""
    image = _open(path)
    shape = _spatial_shape(image.shape)
    return Geometry(shape, _affine(image, path), image.header.get_data_dtype())


def load_image(path: Path) -> Volume:
    """Load a 3D image as float32. NaN, Inf, 4D, bad geometry and damaged files are refused."""
    image = _open(path)
    affine = _affine(image, path)
    array = _three_dimensional(np.asarray(_data(image, path), dtype=np.float32), path)
    if not np.isfinite(array).all():
        count = int(np.count_nonzero(~np.isfinite(array)))
        raise VsudaError(path, f"holds {count} NaN or infinite voxels", "repair: vsuda check --fix")
    return Volume(array, affine, path)


def load_label(path: Path, class_count: int | None = None) -> Volume:
    """Load a 3D label map as uint8, exactly.

    Raises VsudaError for values that are no integers, or not below `class_count` (background
    included) when it is given.
    """
    image = _open(path)
    affine = _affine(image, path)
    array = _three_dimensional(_data(image, path), path)
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
            path, f"holds label {wrong}", f"labels go from 0 to {allowed}; fix it or set --classes"
        )
    return Volume(array.astype(np.uint8), affine, path)


def load_probability(path: Path) -> Volume:
    """Load a probability map (x, y, z, class) as float32."""
    image = _open(path)
    affine = _affine(image, path)
    array = np.asarray(_data(image, path), dtype=np.float32)
    if array.ndim != 4 or array.shape[3] < 2:
        raise VsudaError(path, f"has shape {array.shape}", "give a 4D map (x, y, z, class)")
    return Volume(array, affine, path)


def save_image(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Save an image; floats as float32, integers in their own type."""
    kept = array.astype(np.float32) if array.dtype.kind == "f" else array
    _save(path, kept, affine)


def save_label(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Save a label map as unsigned 8 bit integers, without scale factors."""
    _save(path, array.astype(np.uint8), affine)


def save_probability(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Save probabilities (x, y, z, class) as unsigned 16 bit with a scale factor."""
    quantised = np.rint(np.clip(array, 0, 1) * PROBABILITY_STEPS).astype(np.uint16)
    _save(path, quantised, affine, slope=1 / PROBABILITY_STEPS)


def same_grid(a: Volume | Geometry, b: Volume | Geometry, tolerance_mm: float = 1e-3) -> bool:
    """Tell whether two volumes have the same shape (first three axes) and the same affine."""
    same_shape = a.shape[:3] == b.shape[:3]
    return same_shape and bool(np.allclose(a.affine, b.affine, rtol=0, atol=tolerance_mm))


def is_whole(path: Path) -> bool:
    """Tell whether a file can be read to its end; a NIfTI file must hold all its voxels."""
    try:
        if path.name.endswith((".nii", ".nii.gz")):
            _data(_open(path), path)
            return True
        return path.stat().st_size > 0
    except (VsudaError, OSError):
        return False


_NIFTI2_SIZES = (struct.pack("<i", 540), struct.pack(">i", 540))
_UNREADABLE = (
    HeaderDataError,
    ImageFileError,
    WrapStructError,
    EOFError,
    OSError,
    OverflowError,
    zlib.error,
    ValueError,
)


def _open(path: Path) -> Any:
    """Return a nibabel image whose header was checked against the file's size."""
    if path.is_dir():
        raise VsudaError(path, "is a folder", "give a NIfTI file")
    if not path.exists():
        raise VsudaError(path, "does not exist", "check the path")
    try:
        raw = _read_bytes(path, HEADER_BYTES)
        image_class = nib.Nifti2Image if raw[:4] in _NIFTI2_SIZES else nib.Nifti1Image
        # nibabel's own checks turn a pixel size of 0 into 1 and drop signs: look before they do.
        as_stored = image_class.header_class.from_fileobj(io.BytesIO(raw), check=False)
        _refuse_qform_without_spacing(path, as_stored)
        header = image_class.header_class.from_fileobj(io.BytesIO(raw))
        _refuse_impossible_size(path, header)
        _refuse_colours_and_complex(path, header)
        return image_class.from_filename(path)
    except _UNREADABLE as error:
        raise VsudaError(path, f"is not a readable NIfTI file ({error})", "replace it") from error


def _read_bytes(path: Path, most: int) -> bytes:
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as stream:
        raw: bytes = stream.read(most)
    return raw


def _refuse_qform_without_spacing(path: Path, header: Any) -> None:
    spacing = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) > 0 and spacing.min() <= 0:
        raise VsudaError(path, f"has voxel spacing {spacing.tolist()} mm", "repair its header")


def _refuse_colours_and_complex(path: Path, header: Any) -> None:
    if header.get_data_dtype().kind not in "iuf":
        name = header.get_value_label("datatype")
        raise VsudaError(path, f"holds {name} voxels", "give an image with one real value a voxel")


def _refuse_impossible_size(path: Path, header: Any) -> None:
    shape = header.get_data_shape()
    if len(shape) < 3 or min(shape) < 1:
        raise VsudaError(path, f"has shape {tuple(shape)}", "give a 3D image")
    declared = _declared_bytes(header)
    size = path.stat().st_size
    most = size * (LARGEST_DEFLATE_RATIO if path.name.endswith(".gz") else 1)
    if declared > most:
        raise VsudaError(
            path,
            f"declares {declared} bytes of voxels but has {size} bytes",
            "the file is truncated or damaged: copy it again",
        )


def _declared_bytes(header: Any) -> int:
    voxels = 1
    for length in header.get_data_shape():
        voxels *= int(length)
    return voxels * int(header.get_data_dtype().itemsize)


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    header = image.header
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise VsudaError(
            path, "has neither sform nor qform: nobody knows where it lies", "vsuda check --fix"
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all():
        raise VsudaError(path, "has NaN in its affine", "repair: vsuda check --fix")
    spacing = _column_norms(affine)
    if spacing.min() < SPACING_RANGE_MM[0] or spacing.max() > SPACING_RANGE_MM[1]:
        raise VsudaError(path, f"has voxel spacing {spacing.tolist()} mm", "repair its header")
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise VsudaError(path, "has a sheared affine", "repair: vsuda check --fix")
    return affine


def _column_norms(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.linalg.norm(affine[:3, :3], axis=0)
    return norms


def _data(image: Any, path: Path) -> NDArray[Any]:
    """Return the voxels, after the whole file was read (and, compressed, its checksum verified)."""
    expected = int(image.dataobj.offset) + _declared_bytes(image.header)
    try:
        # One byte more than declared makes gzip read on to its trailer, where the checksum is.
        raw = _read_bytes(path, expected + 1)
        if len(raw) < expected:
            raise EOFError(f"{len(raw)} of {expected} bytes")
        return np.asanyarray(type(image).from_bytes(raw).dataobj)
    except _UNREADABLE as error:
        raise VsudaError(path, f"is truncated or damaged ({error})", "copy it again") from error


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
    path: Path, array: NDArray[Any], affine: NDArray[np.float64], slope: float | None = None
) -> None:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    if slope is not None:
        # to_bytes would rescale the array by the slope; the header is set after it was laid out.
        image.header.set_slope_inter(slope, 0)
        header = image.header.copy()
        header["vox_offset"] = 352
        header["magic"] = b"n+1"
        header["scl_slope"], header["scl_inter"] = slope, 0
        payload = header.binaryblock + b"\0" * 4 + array.tobytes(order="F")
    else:
        payload = image.to_bytes()
    if path.name.endswith(".gz"):
        # No time stamp and no name inside: the same voxels give the same bytes.
        payload = gzip.compress(payload, compresslevel=COMPRESSION_LEVEL, mtime=0)
    atomic.write_bytes(path, payload)
