"""Copies of damaged files with everything put right that can be put right for certain."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic
from vsuda_cli.io.cases import LABEL, PROBABILITY
from vsuda_cli.io.header import (
    SHEAR_TOLERANCE,
    column_norms,
    farthest_apart_mm,
    read_header,
    read_qform,
)
from vsuda_cli.io.inspection import load_by_tag
from vsuda_cli.io.nifti import (
    LARGEST_LABEL,
    read_voxels,
    save_fractions,
    save_image,
    save_label,
)
from vsuda_cli.io.probabilities import problem_with

Affine = NDArray[np.float64]

# A label that a scale factor or a resampling without interpolation moved is this near its integer.
LABEL_TOLERANCE = 0.01


@dataclass(frozen=True)
class Repaired:
    """Sound voxels and geometry, and a line for each thing that was changed."""

    array: NDArray[Any]
    affine: Affine
    repairs: tuple[str, ...]


def repair_file(path: Path, out: Path, tag: str | None) -> tuple[str, ...]:
    """Write a sound copy of a file and return what was changed; the file itself is only read.

    Raises VsudaError for what nobody can know: missing bytes, values between labels, a geometry
    without any finite form.
    """
    repaired = repair(path, tag)
    # What is at `out` already must stay when the copy is not sound.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / out.name
        if tag == LABEL:
            save_label(copy, repaired.array, repaired.affine)
        elif tag == PROBABILITY:
            save_fractions(copy, repaired.array, repaired.affine)
        else:
            save_image(copy, repaired.array, repaired.affine)
        try:
            # The other commands must take it.
            load_by_tag(copy, tag)
        except VsudaError as error:
            raise VsudaError(path, f"still {error.problem}", error.remedy) from error
        atomic.write_bytes(out, copy.read_bytes())
    return repaired.repairs


def repair(path: Path, tag: str | None) -> Repaired:
    """Return a file's voxels and geometry, put right; raises VsudaError like repair_file."""
    try:
        header = read_header(path)
        array = read_voxels(header, path)
    except (VsudaError, OSError) as error:
        raise VsudaError(
            path, "is truncated, damaged or no image", "it cannot be repaired: get a new copy"
        ) from error
    repairs: list[str] = []
    wanted = 4 if tag == PROBABILITY else 3
    if array.ndim > wanted and set(array.shape[wanted:]) == {1}:
        repairs.append(f"dropped idle axes of shape {array.shape}")
        array = array.reshape(array.shape[:wanted])
    if array.ndim != wanted:
        raise VsudaError(path, f"has shape {array.shape}", f"give a {wanted}D file")
    array = _whole_labels(path, array, repairs) if tag == LABEL else _finite(array, repairs)
    # As they are: what would be cut off at 0 and 1 might look like some.
    problem = problem_with(array) if tag == PROBABILITY else ""
    if problem:
        raise VsudaError(path, problem, "make it again with vsuda predict")
    affine = _one_affine(path, header, repairs)
    affine = _orthogonal(affine, array.shape, repairs)
    return Repaired(array, affine, tuple(repairs))


def _whole_labels(path: Path, array: NDArray[Any], repairs: list[str]) -> NDArray[np.uint8]:
    if array.dtype.kind not in "iub":
        broken = int(np.count_nonzero(~np.isfinite(array)))
        if broken:
            repairs.append(f"set {broken} voxels without a value to background")
            array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
        rounded = np.rint(array)
        distance = float(np.abs(array - rounded).max()) if array.size else 0.0
        if distance > LABEL_TOLERANCE:
            raise VsudaError(path, "holds values between labels", "give the label map as drawn")
        if distance > 0:
            repairs.append(f"rounded labels that were off by up to {distance:.2g}")
        array = rounded
    if array.size and (array.min() < 0 or array.max() > LARGEST_LABEL):
        raise VsudaError(path, f"holds labels {array.min():g} to {array.max():g}", "relabel it")
    return array.astype(np.uint8)


def _finite(array: NDArray[Any], repairs: list[str]) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return array
    broken = int(np.count_nonzero(~np.isfinite(array)))
    if broken:
        repairs.append(f"set {broken} NaN or infinite voxels to 0")
        array = np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
    return array


def _one_affine(path: Path, header: Any, repairs: list[str]) -> Affine:
    """Return the first sound form, in the order sform, qform, pixel sizes alone."""
    forms: list[tuple[str, Affine]] = []
    if int(header["sform_code"]) > 0:
        forms.append(("sform", np.asarray(header.get_sform(), dtype=np.float64)))
    if int(header["qform_code"]) > 0:
        forms.append(("qform", read_qform(header)))
    if not forms:
        forms.append(("pixel sizes", np.asarray(header.get_base_affine(), dtype=np.float64)))
        repairs.append("placed by pixel sizes alone: LEFT AND RIGHT ARE A GUESS, look at it")
    for name, affine in forms:
        if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9:
            others = [other for _, other in forms if not np.allclose(other, affine, atol=1e-3)]
            if others:
                repairs.append(f"sform and qform now both say what the {name} said")
            return affine
    raise VsudaError(path, "has no usable geometry", "it cannot be repaired: convert it anew")


def _orthogonal(affine: Affine, shape: tuple[int, ...], repairs: list[str]) -> Affine:
    """Return the nearest affine without shear (polar decomposition); the middle stays in place."""
    spacing = column_norms(affine)
    directions = affine[:3, :3] / spacing
    if np.abs(directions.T @ directions - np.eye(3)).max() <= SHEAR_TOLERANCE:
        return affine
    left, _, right = np.linalg.svd(directions)
    straight = affine.copy()
    straight[:3, :3] = (left @ right) * spacing
    middle = (np.asarray(shape[:3]) - 1) / 2
    straight[:3, 3] += affine[:3, :3] @ middle - straight[:3, :3] @ middle
    moved = farthest_apart_mm(affine, straight, shape)
    repairs.append(f"removed shear, which moves the corners by {moved:.1f} mm")
    return straight
