"""Records of how each scan was registered to the atlas, beside its crops."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vsuda_cli.errors import VsudaError
from vsuda_cli.images.registration import DOUBTFUL_SIMILARITY, Registration
from vsuda_cli.io import atomic
from vsuda_cli.io.batch import JobResult
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import Geometry, Volume, same_grid

# Similarities below this share of the median are worth a look.
OUTLIER_SHARE = 0.6
# No head is so many times smaller than another one in each direction: it would be no transform.
SMALLEST_SCALING = 1e-3


def record_path(out: Path, case: str) -> Path:
    """Return where a case's transforms are kept."""
    return out / "transforms" / f"{case}.json"


@dataclass(frozen=True)
class Origin:
    """What a transform leads from and to: a scan, and an atlas whose image has this digest."""

    scan: Volume
    atlas: Path
    atlas_digest: str


def record_of(
    origin: Origin, found: dict[str, Registration], cut: dict[str, int]
) -> dict[str, Any]:
    """Return a case's record: each side's transform, and how many labelled voxels its crop cuts."""
    sides: dict[str, Any] = {}
    for side, registration in found.items():
        sides[side] = {
            "scan_to_atlas_ras_mm": registration.to_atlas.tolist(),
            "similarity": round(float(registration.similarity), 5),
            "start": registration.start,
        }
        if side in cut:
            sides[side]["cut_label_voxels"] = cut[side]
    return {
        "image": origin.scan.path.name,
        "shape": list(origin.scan.shape),
        "voxel_to_ras_mm": origin.scan.affine.tolist(),
        "atlas": origin.atlas.name,
        "atlas_digest": origin.atlas_digest,
        "sides": sides,
    }


def write_record(out: Path, case: CaseFile, record: Mapping[str, Any]) -> None:
    """Write a case's record beside its crops in `out`."""
    atomic.write_text(record_path(out, case.case), json.dumps(record, indent=1) + "\n")


def read_record(
    folder: Path, case: str, origin: Origin, sides: Sequence[str]
) -> dict[str, Registration]:
    """Return the registrations by side that an earlier call recorded in a folder for a case.

    Raises VsudaError if there is no such record, or if it is of another scan, atlas or side.
    """
    path = folder / f"{case}.json"
    image, atlas = origin.scan.path.name, origin.atlas.name
    remedy = (
        "give the transforms/ that vsuda crop wrote for these scans, or leave --transforms away"
    )
    if not path.is_file():
        raise VsudaError(path, f"does not exist, and {image} has no other record", remedy)
    try:
        record = json.loads(path.read_text())
        for what, wanted in (("image", image), ("atlas", atlas)):
            if record[what] != wanted:
                raise VsudaError(path, f"is of {what} {record[what]}, not {wanted}", remedy)
        if record["atlas_digest"] != origin.atlas_digest:
            raise VsudaError(path, f"is of another image than {origin.atlas}", remedy)
        affine = np.array(record["voxel_to_ras_mm"], dtype=np.float64).reshape(4, 4)
        recorded = Geometry(tuple(record["shape"]), affine)
        if not same_grid(recorded, origin.scan):
            raise VsudaError(path, f"is of another grid than that of {origin.scan.path}", remedy)
        found = {}
        for side in sides:
            one = record["sides"][side]
            to_atlas = np.array(one["scan_to_atlas_ras_mm"], dtype=np.float64)
            usable = to_atlas.shape == (4, 4) and np.isfinite(to_atlas).all()
            if not usable or abs(np.linalg.det(to_atlas[:3, :3])) < SMALLEST_SCALING:
                raise ValueError(f"side {side} has no transform")
            found[side] = Registration(to_atlas, float(one["similarity"]), str(one["start"]))
        return found
    except (ValueError, LookupError, TypeError) as error:
        problem = f"is no record of sides {' and '.join(sides)} ({error!r})"
        raise VsudaError(path, problem, remedy) from error


def outliers(results: Mapping[str, JobResult]) -> list[str]:
    """Return a line for each ear that may lie elsewhere.

    Its similarity is far below what the call's others reached, or below what can be trusted. Cases
    whose records have no sides are passed over.
    """
    reached = [
        (case, side, float(one["similarity"]))
        for case, result in sorted(results.items())
        for side, one in result.record.get("sides", {}).items()
    ]
    usual = float(np.median([value for *_, value in reached])) if reached else 0.0
    lines = []
    for case, side, value in reached:
        found = f"{case}: look at side {side}: similarity {value:.3f}"
        if value < OUTLIER_SHARE * usual:
            lines.append(f"{found}, others reach {usual:.3f}")
        elif value < DOUBTFUL_SIMILARITY:
            lines.append(f"{found}, right ones mostly exceed {DOUBTFUL_SIMILARITY}")
    return lines
