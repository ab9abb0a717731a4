"""NIfTI files written as they are, also with headers that nibabel would not write."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

AFFINE = np.array([[0.5, 0, 0, -9], [0, 0.5, 0, 7], [0, 0, 1.5, 3], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)


def write(path: Path, array: NDArray[Any], affine: NDArray[np.float64] | None = AFFINE) -> Path:
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


def write_with_header(path: Path, change: Callable[[Any], None]) -> Path:
    """Write an image whose header was changed behind nibabel's back."""
    raw = nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE).to_bytes()
    header = nib.Nifti1Header(raw[:348], check=False)
    change(header)
    data = header.binaryblock + raw[348:]
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
