"""What a NIfTI header must say before a single voxel is read."""

import itertools
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import compression

# deflate cannot shrink data more than 1032 times; a header that claims more is lying.
LARGEST_DEFLATE_RATIO = 1032
# Of NIfTI-2, the larger one. What a file may have between header and voxels is not looked at.
HEADER_BYTES = 540
SHEAR_TOLERANCE = 1e-3
SPACING_RANGE_MM = (1e-3, 1e3)
NIFTI2_SIZES = (struct.pack("<i", 540), struct.pack(">i", 540))
UNREADABLE: tuple[type[Exception], ...] = (
    HeaderDataError,
    WrapStructError,
    OSError,
    OverflowError,
    ValueError,
    *compression.BROKEN_STREAM,
)


def read_header(path: Path) -> Any:
    """Return a nibabel header that was checked against the file's size; no voxel is read.

    Raises VsudaError for what cannot be read as a 3D or 4D image of one real value a voxel.
    """
    if path.is_dir():
        raise VsudaError(path, "is a folder", "give a NIfTI file")
    if not path.exists():
        raise VsudaError(path, "does not exist", "check the path")
    try:
        raw = bytes(compression.read_start(path, HEADER_BYTES))
        kind = nib.Nifti2Header if raw[:4] in NIFTI2_SIZES else nib.Nifti1Header
        header = kind(raw[: kind.template_dtype.itemsize], check=False)
        # nibabel's own checks turn a pixel size of 0 into 1 and drop signs: look before they do.
        _refuse_qform_without_spacing(path, header)
        header.check_fix()
        _refuse_impossible_size(path, header)
        _refuse_colours_and_complex(path, header)
        # It raises for factors that are no numbers.
        scale_factors(header)
    except UNREADABLE as error:
        raise VsudaError(path, f"is not a readable NIfTI file ({error})", "replace it") from error
    return header


def scale_factors(header: Any) -> tuple[float, float]:
    """Return what stored values are multiplied by, and what is added; 1 and 0 if it says none."""
    slope, intercept = header.get_slope_inter()
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


def declared_bytes(header: Any) -> int:
    """Return how many bytes of voxels a header announces."""
    voxels = 1
    for length in header.get_data_shape():
        voxels *= int(length)
    return voxels * int(header.get_data_dtype().itemsize)


def checked_affine(header: Any, path: Path) -> NDArray[np.float64]:
    """Return the affine (4x4, voxel index to RAS mm): the sform, the qform where there is none.

    Raises VsudaError if there is neither, and for NaN, spacings that no scan has, and shear.
    """
    has_sform = int(header["sform_code"]) != 0
    if not has_sform and int(header["qform_code"]) == 0:
        raise VsudaError(
            path, "has neither sform nor qform: nobody knows where it lies", "vsuda check --fix"
        )
    affine = np.asarray(header.get_sform() if has_sform else read_qform(header), dtype=np.float64)
    if not np.isfinite(affine).all():
        raise VsudaError(path, "has NaN in its affine", "repair: vsuda check --fix")
    spacing = column_norms(affine)
    if spacing.min() < SPACING_RANGE_MM[0] or spacing.max() > SPACING_RANGE_MM[1]:
        raise VsudaError(path, f"has voxel spacing {spacing.tolist()} mm", "repair its header")
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() > SHEAR_TOLERANCE:
        raise VsudaError(path, "has a sheared affine", "repair: vsuda check --fix")
    return affine


def read_qform(header: Any) -> NDArray[np.float64]:
    """Return the affine (4x4) that the qform says; NaN where its numbers are no rotation."""
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)


def farthest_apart_mm(
    a: NDArray[np.float64], b: NDArray[np.float64], shape: Sequence[int]
) -> float:
    """Return how far two affines place a corner voxel of a volume apart, at most."""
    ends = itertools.product(*((0, length - 1) for length in shape[:3]))
    corners = np.array([(*corner, 1) for corner in ends], dtype=np.float64)
    return float(np.linalg.norm(corners @ (a - b)[:3].T, axis=1).max())


def column_norms(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the voxel size in mm along each array axis."""
    norms: NDArray[np.float64] = np.linalg.norm(affine[:3, :3], axis=0)
    return norms


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
    offset = int(header.get_data_offset())
    if path.name.endswith((".nii", ".nii.gz")) and offset < header.single_vox_offset:
        problem = f"says that its voxels begin at byte {offset}, inside its header"
        raise VsudaError(path, problem, "convert it anew")
    declared = offset + declared_bytes(header)
    size = path.stat().st_size
    most = size * (LARGEST_DEFLATE_RATIO if compression.is_compressed(path) else 1)
    if declared > most:
        raise VsudaError(
            path,
            f"declares {declared} bytes but has {size} bytes",
            "the file is truncated or damaged: copy it again",
        )
    # A gzip bomb is whole and keeps to deflate's ratio: only the memory it asks for gives it away.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if declared > memory:
        raise VsudaError(
            path,
            f"declares {declared} bytes, more than this machine's memory of {memory} bytes",
            "look at its header, or use a larger machine",
        )
