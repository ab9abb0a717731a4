"""What `vsuda postprocess` does to the label maps of one subject."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vsuda_cli.errors import VsudaError, counted
from vsuda_cli.images.both_ears import clean_ears, keep_one_tumour
from vsuda_cli.images.components import Labels, Removal, Rules, holds_both_ears
from vsuda_cli.images.cropping import place_back
from vsuda_cli.images.cysts import fill_cysts
from vsuda_cli.images.geometry import Affine, voxel_mm3
from vsuda_cli.images.outlines import snap_outlines
from vsuda_cli.io.batch import JobResult
from vsuda_cli.io.cases import EARS, CaseFile
from vsuda_cli.io.nifti import load_image, load_label, read_geometry, save_label


def clean_case(
    parts: Sequence[CaseFile],
    scan: Path | None,
    paths: tuple[Path, ...],
    rules: Rules,
    one_sided: bool,
    snap: bool,
    cysts: bool,
) -> JobResult:
    """Clean the label maps of one subject into `paths`; with a scan, merge them on its grid.

    With `snap` their outlines move there to the scan's edges; with `cysts` the tumour's are filled.
    """
    found = [load_label(part.path, len(rules.classes) + 1) for part in parts]
    ears = [
        part.case.endswith(EARS) or not holds_both_ears(volume.shape, volume.affine)
        for part, volume in zip(parts, found, strict=True)
    ]
    cleaned = clean_ears([(volume.array, volume.affine) for volume in found], ears, rules)
    maps: list[tuple[Labels, Affine]] = []
    told: list[tuple[str, list[Removal], list[str]]] = []
    for part, volume, (labels, gone, said) in zip(parts, found, cleaned, strict=True):
        maps.append((labels, volume.affine))
        told.append((part.case, list(gone), said))
    if one_sided:
        kept, more = keep_one_tumour(maps, rules)
        for index, (labels, also) in enumerate(zip(kept, more, strict=True)):
            maps[index] = labels, found[index].affine
            told[index][1].extend(also)
    if scan is not None:
        merged, affine = _merge(parts, maps, scan)
        if snap:
            volume = load_image(scan)
            merged = snap_outlines(merged, volume.array, volume.affine)
        maps = [(merged, affine)]
    for path, (labels, affine) in zip(paths, maps, strict=True):
        if cysts:
            labels, filled = _without_cysts(labels, affine, rules)
            if filled:
                told.append((path.name.removesuffix("_Label.nii.gz"), filled, []))
        save_label(path, labels, affine)
    notes, removed = [], []
    for case, gone, said in told:
        notes.append(f"{case}: " + "; ".join([*said, *_tell(gone)] or ["nothing removed"]))
        removed += [{"label": case, **vars(one)} for one in gone]
    return JobResult(paths, {"removed": removed}, tuple(notes))


def _without_cysts(labels: Labels, affine: Affine, rules: Rules) -> tuple[Labels, list[Removal]]:
    """Return a label map whose tumour has no cysts, and what was filled."""
    filled = fill_cysts(labels, affine, rules.tumour)
    count = int(np.count_nonzero(filled != labels))
    if not count:
        return filled, []
    structure = rules.classes[rules.tumour - 1]
    return filled, [Removal(structure, "cysts", count, count * voxel_mm3(affine), "filled")]


def _merge(
    parts: Sequence[CaseFile],
    maps: Sequence[tuple[Labels, Affine]],
    scan: Path,
) -> tuple[Labels, Affine]:
    """Return the label maps of both ears on their scan's grid, and its affine.

    Where crops overlap the right ear's structures stay, as in `vsuda predict`.
    """
    grid = read_geometry(scan)
    if len(grid.shape) != 3:
        raise VsudaError(scan, f"has shape {grid.shape}", "give a 3D scan")
    merged = np.zeros(grid.shape, dtype=np.uint8)
    right_first = sorted(
        zip(parts, maps, strict=True), key=lambda one: not one[0].case.endswith("_R")
    )
    for part, (labels, affine) in right_first:
        before = np.count_nonzero(merged)
        place = partial(place_back, labels, affine, grid.shape, grid.affine)
        merged = place(into=merged)
        # Nothing new is to be seen where the other ear's crop found the same voxels before.
        if labels.any() and np.count_nonzero(merged) == before and not place().any():
            raise VsudaError(part.path, f"lies outside {scan}", "check that they belong together")
    return merged, grid.affine


def _tell(removed: Sequence[Removal]) -> list[str]:
    """Return a phrase for each structure and rule; its largest component explains."""
    groups: dict[tuple[str, str], list[Removal]] = {}
    for one in removed:
        groups.setdefault((one.structure, one.rule), []).append(one)
    told = []
    for (structure, rule), some in groups.items():
        voxels = counted(sum(one.voxels for one in some), "voxel")
        size = f"{voxels} ({sum(one.mm3 for one in some):.1f} mm3)"
        if rule in ("holes", "cysts"):
            told.append(f"{structure}: {size} of {rule} filled")
            continue
        parts = counted(len(some), "component")
        most = max(some, key=lambda one: one.voxels)
        told.append(f"{structure}: removed {parts}, {size}, {most.detail}")
    return told
