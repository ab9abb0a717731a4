"""NiiVue in the report: its JavaScript from an installed package, and the volumes it shows."""

import base64
import gzip
import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote

import nibabel
import numpy as np
from numpy.typing import NDArray

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import spacing_of
from vsuda_cli.report.model import Volumes

PACKAGE = "ipyniivue"
MARGIN_MM = 20.0
# Thirty cases of this many voxels, their pictures and NiiVue together stay near 15 MB.
LARGEST_VOLUME = 350_000

Labels = NDArray[np.uint8]


def niivue_script() -> str:
    """Return NiiVue's JavaScript module, gzipped and in base64, from the installed ipyniivue.

    ipyniivue's widget carries the plain module as a percent-encoded string, for pages that a user
    saves from a notebook. Raises VsudaError if the package is missing or holds no such string.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise VsudaError("--viewer", f"needs {PACKAGE}", "install it: pip install 'vsuda[viewer]'")
    widget = Path(spec.origin).parent / "static" / "widget.js"
    text = widget.read_text(encoding="utf-8") if widget.is_file() else ""
    strings = re.findall(r'"((?:[\w.~!*\'()-]|%[0-9A-F]{2}){100000,})"', text)
    modules = [module for module in map(unquote, strings) if _exports_niivue(module)]
    if not modules:
        problem = "does not hold NiiVue's module"
        raise VsudaError(widget, problem, "install ipyniivue 2.4: pip install 'ipyniivue==2.4.*'")
    return _packed(modules[0].encode())


def viewer_volumes(
    truth: Labels | None,
    found: Labels,
    greys: Labels | None,
    affine: NDArray[np.float64],
) -> Volumes:
    """Return what the viewer shows of a case: the part around all structures, as small NIfTI files.

    All arrays (X, Y, Z) are on the grid of `affine` (voxel to RAS mm). Every n-th voxel is taken
    along the finest axis until no more than LARGEST_VOLUME are left.
    """
    either = found > 0 if truth is None else (found > 0) | (truth > 0)
    spacing_mm = spacing_of(affine)
    low, high = _box(either, spacing_mm)
    steps = np.ones(3, dtype=int)
    while np.prod(-(-(high - low) // steps)) > LARGEST_VOLUME:
        steps[np.argmin(spacing_mm * steps)] += 1
    part = tuple(slice(a, b, n) for a, b, n in zip(low, high, steps, strict=True))
    placed = affine.copy()
    placed[:3, :3] = affine[:3, :3] * steps
    placed[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    scan = np.zeros_like(found) if greys is None else greys
    return Volumes(
        scan=_nifti(scan[part], placed),
        reference="" if truth is None else _nifti(truth[part], placed),
        prediction=_nifti(found[part], placed),
        centre_mm=_centre_mm(found if truth is None or not truth.any() else truth, affine),
    )


def _exports_niivue(module: str) -> bool:
    exported = re.search(r"export\s*\{([^}]*)\}\s*;?\s*$", module)
    return exported is not None and "Niivue" in re.split(r"[\s,]+", exported.group(1))


def _box(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the last + 1 index of what is shown; everything if the mask is empty."""
    shape = np.array(mask.shape)
    where = np.argwhere(mask)
    if not where.size:
        return np.zeros(3, dtype=np.intp), shape
    margin = np.ceil(MARGIN_MM / spacing_mm).astype(np.intp)
    return (
        np.maximum(where.min(axis=0) - margin, 0),
        np.minimum(where.max(axis=0) + 1 + margin, shape),
    )


def _centre_mm(labels: Labels, affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the voxel nearest the centre of the lowest label, or of the volume if all is 0."""
    index = np.array(labels.shape) // 2
    if labels.any():
        where = np.argwhere(labels == labels[labels > 0].min())
        index = where[np.square(where - where.mean(axis=0)).sum(axis=1).argmin()]
    x, y, z = (affine[:3, :3] @ index + affine[:3, 3]).round(2).tolist()
    return x, y, z


def _nifti(array: Labels, affine: NDArray[np.float64]) -> str:
    image = nibabel.Nifti1Image(np.asfortranarray(array), affine)
    return _packed(image.to_bytes())


def _packed(data: bytes) -> str:
    # No time stamp: the same data give the same bytes.
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")
