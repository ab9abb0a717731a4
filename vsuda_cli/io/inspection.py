"""What is wrong with files and folders, found without stopping at the first thing."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import (
    LABEL,
    NOT_IMAGES,
    PROBABILITY,
    CaseFile,
    found_instead,
    is_crop,
    is_nifti,
    parse_name,
)
from vsuda_cli.io.header import farthest_apart_mm, read_header, read_qform, scale_factors
from vsuda_cli.io.nifti import (
    Geometry,
    Volume,
    load_image,
    load_label,
    load_probability,
    same_grid,
)

ERROR = "error"
WARNING = "warning"
# How far sform and qform may place a corner apart before libraries disagree visibly.
FORM_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Finding:
    """One thing about one file: an error is refused by other commands, a warning is not."""

    severity: str
    path: Path
    problem: str
    remedy: str


@dataclass(frozen=True)
class Inspection:
    """What one file gave: findings, its geometry if it has one, a digest of its voxels."""

    findings: tuple[Finding, ...]
    geometry: Geometry | None
    digest: str | None


def nifti_files(folder: Path) -> list[Path]:
    """Return a folder's NIfTI files, sorted; raises VsudaError if there are none."""
    if not folder.is_dir():
        raise VsudaError(folder, "is no folder", "give folders")
    files = sorted(path for path in folder.iterdir() if is_nifti(path))
    if not files:
        raise VsudaError(folder, "holds no NIfTI files", found_instead(folder))
    return files


def inspect_file(path: Path, class_count: int) -> Inspection:
    """Look at one file: can it be read to its end, where does it lie, are its values sound."""
    findings = []
    tag = None
    try:
        tag = parse_name(path).tag
    except VsudaError as error:
        findings.append(Finding(WARNING, path, error.problem, error.remedy))
    try:
        findings.extend(_header_findings(path, tag))
        volume = load_by_tag(path, tag, class_count)
    except VsudaError as error:
        findings.append(Finding(ERROR, path, error.problem, error.remedy))
        return Inspection(tuple(findings), None, None)
    if volume.array.min() == volume.array.max():
        kind = "label map" if tag == LABEL else "image"
        problem = f"is a constant {kind}: every voxel is {float(volume.array.flat[0]):g}"
        findings.append(Finding(WARNING, path, problem, "look at it"))
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).tobytes()).hexdigest()
    return Inspection(tuple(findings), Geometry(volume.shape, volume.affine), digest)


def inspect_folder(inspections: Mapping[Path, Inspection]) -> list[Finding]:
    """Look at the files of one folder together: duplicates, axes, labels that fit their images."""
    named = []
    for path in sorted(inspections):
        try:
            named.append(parse_name(path))
        except VsudaError:
            continue
    return [
        *_duplicate_cases(named),
        *_same_voxels(named, inspections),
        *_axes(named, inspections),
        *_partners(named, inspections),
    ]


def load_by_tag(path: Path, tag: str | None, class_count: int | None = None) -> Volume:
    """Load a file as what its tag says: a label map, probabilities or, if neither, an image."""
    if tag == LABEL:
        return load_label(path, class_count)
    if tag == PROBABILITY:
        return load_probability(path)
    return load_image(path)


def _header_findings(path: Path, tag: str | None) -> list[Finding]:
    """Look at what a loader passes over or decides by rule."""
    header = read_header(path)
    shape = header.get_data_shape()
    findings = []
    if len(shape) > 3 and set(shape[3:]) == {1}:
        problem = f"has shape {shape}: a 3D image with idle axes"
        findings.append(Finding(WARNING, path, problem, "vsuda check --fix drops them"))
    if int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0:
        qform = read_qform(header)
        apart = farthest_apart_mm(header.get_sform(), qform, shape)
        # Written this way round, a difference that is no number counts as one.
        if not apart <= FORM_TOLERANCE_MM:
            problem = f"sform and qform lie {apart:.1f} mm apart (here the sform counts)"
            if np.isnan(qform).any():
                problem = "has a qform that is no rotation (here the sform counts)"
            findings.append(Finding(WARNING, path, problem, "vsuda check --fix makes them agree"))
    slope, intercept = scale_factors(header)
    if (slope, intercept) != (1, 0) and tag == LABEL:
        problem = f"is a label map with scale factor {slope} and offset {intercept}"
        findings.append(Finding(WARNING, path, problem, "vsuda check --fix removes them"))
    return findings


def _duplicate_cases(named: Sequence[CaseFile]) -> list[Finding]:
    found = []
    first: dict[tuple[str, str], CaseFile] = {}
    for file in named:
        # Two images of a case are two, whatever their tags; of labels and the like, the tag tells.
        kind = file.tag if file.tag in NOT_IMAGES else "image"
        before = first.setdefault((file.case, kind), file)
        if before != file:
            problem = f"is a second {kind} of case {file.case} beside {before.path.name}"
            found.append(Finding(ERROR, file.path, problem, "keep one of them in this folder"))
    return found


def _same_voxels(
    named: Sequence[CaseFile], inspections: Mapping[Path, Inspection]
) -> list[Finding]:
    groups: defaultdict[str, list[CaseFile]] = defaultdict(list)
    for file in named:
        digest = inspections[file.path].digest
        if digest is not None and file.tag != LABEL:
            groups[digest].append(file)
    found = []
    for group in groups.values():
        for file in group[1:]:
            problem = f"holds the same voxels as {group[0].path.name}"
            found.append(Finding(WARNING, file.path, problem, "keep one of them"))
    return found


def _axes(named: Sequence[CaseFile], inspections: Mapping[Path, Inspection]) -> list[Finding]:
    """Find the whole images whose axes run otherwise than most images' of the folder."""
    axes = {}
    for file in named:
        geometry = inspections[file.path].geometry
        # Crops of left ears are stored mirrored.
        if geometry is not None and file.tag not in NOT_IMAGES and not is_crop(file.case):
            axes[file.path] = "".join(nib.aff2axcodes(geometry.affine))
    if not axes:
        return []
    usual = Counter(axes.values()).most_common(1)[0][0]
    found = []
    for path, own in axes.items():
        if own != usual:
            problem = f"is stored along {own}, most images here along {usual}"
            remedy = "turn it, or crop, which turns all: training takes axes as they are stored"
            found.append(Finding(WARNING, path, problem, remedy))
    return found


def _partners(named: Sequence[CaseFile], inspections: Mapping[Path, Inspection]) -> list[Finding]:
    labels = {file.case: file for file in named if file.tag == LABEL}
    images = {file.case: file for file in named if file.tag not in NOT_IMAGES}
    found = []
    for case, label in labels.items():
        image = images.get(case)
        if image is None:
            # A folder of labels alone is usual: scans and references kept apart.
            if images:
                found.append(Finding(WARNING, label.path, "has no image beside it", "add it"))
            continue
        grids = (inspections[image.path].geometry, inspections[label.path].geometry)
        if grids[0] is not None and grids[1] is not None and not same_grid(grids[0], grids[1]):
            problem = f"is on another grid than {image.path.name}"
            found.append(Finding(ERROR, label.path, problem, "resample it to the image"))
    if labels:
        for case in sorted(set(images) - set(labels)):
            problem = "has no label map beside it, as others have"
            found.append(Finding(WARNING, images[case].path, problem, "add it or move the image"))
    return found
