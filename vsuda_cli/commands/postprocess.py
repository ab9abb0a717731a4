"""`vsuda postprocess`: clean label maps and put both ears back on the scan's grid."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli.options import BatchOptions, ClassNames, expand_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vsuda_cli.images.components import Affine, Labels, Removal, Rules
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.cases import CaseFile

EARS = ("_R", "_L")


@expand_options
def postprocess(
    labels: Annotated[
        str, typer.Argument(help="Folder of <case>_Label, one file, or - for a list.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_Label.nii.gz.")],
    options: BatchOptions,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="DIR",
            help="Put <case>_R_Label and <case>_L_Label back on these scans' grids, merged.",
        ),
    ] = None,
    max_above_mm: Annotated[
        float | None,
        typer.Option(
            "--max-above-mm",
            help="Drop tumour components centred this far above the cochlea.",
            show_default="22.5",
        ),
    ] = None,
    height_rule: Annotated[
        bool, typer.Option("--height-rule/--no-height-rule", help="Use the rule above.")
    ] = True,
    max_distance_mm: Annotated[
        float | None,
        typer.Option(
            "--max-distance-mm",
            min=0,
            help="Drop tumour components nowhere nearer to the cochlea; off unless given.",
        ),
    ] = None,
    one_sided: Annotated[
        bool,
        typer.Option(
            "--one-sided", help="Keep the largest tumour of both ears: it is on one side."
        ),
    ] = False,
    largest: Annotated[
        bool, typer.Option("--largest/--no-largest", help="Keep each class's largest component.")
    ] = True,
    smallest_mm3: Annotated[
        float, typer.Option("--smallest-mm3", min=0, help="Drop components smaller than this.")
    ] = 0.0,
    fill_holes: Annotated[
        bool, typer.Option("--fill-holes", help="Fill background enclosed by a structure.")
    ] = False,
    snap: Annotated[
        bool,
        typer.Option(
            "--snap",
            help="Move outlines by up to 6 pixels and a slice to the scans' edges; with --like.",
        ),
    ] = False,
    fill_cysts: Annotated[
        bool,
        typer.Option(
            "--fill-cysts", help="Fill what a tumour encloses in a slice, or nearly does."
        ),
    ] = False,
    connectivity: Annotated[
        int, typer.Option("--connectivity", metavar="6|18|26", help="Neighbours of a voxel.")
    ] = 26,
    classes: ClassNames = None,
) -> None:
    """Drop false components of each ear, and put the ears back on the scan.

    Per ear: VS components whose centre lies more than 22.5 mm above the cochlea's centre are
    dropped, up being the world's z; then the largest component of each class is kept. With --like
    or --one-sided a subject's ears are seen together, and the end of one ear's tumour that the
    other's crop shows stays, far from its cochlea as it is. A label map wider than 120 mm that is
    not named _R or _L holds both ears: each half is treated alone. With --one-sided a subject keeps
    its largest tumour alone, as sporadic schwannomas are. With --snap outlines then move to where
    the scan shows edges: a voxel belongs to the side it resembles. Last --fill-cysts adds to the
    tumour what it encloses in a slice by three quarters or more.

    Example: vsuda postprocess predictions/fused final --like target_validation
    """
    from vsuda_cli import console
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.commands.structures import parse_classes
    from vsuda_cli.config import CLASSES
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images.components import CONNECTIVITY, MAX_ABOVE_MM, Rules
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import find_images, find_labels, output_path, refuse_same_folder

    console.set_up_logging(options.quiet, options.verbose)
    names = parse_classes(classes)
    if connectivity not in CONNECTIVITY:
        raise VsudaError(f"--connectivity {connectivity}", "is unknown", "use 6, 18 or 26")
    if not set(CLASSES) <= set(names):
        lacks = f"lacks {' or '.join(CLASSES)}, which the rule of"
        if height_rule:
            problem, remedy = f"{lacks} height is about", "name them, or use --no-height-rule"
            raise VsudaError(f"--classes {classes}", problem, remedy)
        if max_distance_mm is not None:
            problem, remedy = f"{lacks} distance is about", "leave --max-distance-mm away"
            raise VsudaError(f"--classes {classes}", problem, remedy)
    if max_above_mm is not None and not height_rule:
        problem = "would not be used with --no-height-rule"
        raise VsudaError("--max-above-mm", problem, "leave one of them away")
    if snap and like is None:
        raise VsudaError("--snap", "needs the scans' images", "give their folder as --like")
    for option, given in (("--one-sided", one_sided), ("--fill-cysts", fill_cysts)):
        if given and CLASSES[0] not in names:
            problem = f"lacks {CLASSES[0]}, which {option} is about"
            raise VsudaError(f"--classes {classes}", problem, f"name it, or leave {option} away")
    tumour, cochlea = (names.index(c) + 1 if c in names else 0 for c in CLASSES)
    above = MAX_ABOVE_MM if max_above_mm is None else max_above_mm
    limit = above if height_rule else None
    rules = Rules(
        names,
        tumour,
        cochlea,
        max_above_mm=limit,
        max_distance_mm=max_distance_mm,
        keep_largest=largest,
        smallest_mm3=smallest_mm3,
        fill_holes=fill_holes,
        connectivity=connectivity,
    )
    files = find_labels(labels)
    sources = [labels] if like is None else [labels, like]
    refuse_same_folder(out, sources, [file.path for file in files])
    groups: dict[str, list[CaseFile]] = {}
    scans: dict[str, Path] = {}
    if like is None:
        for file in files:
            groups.setdefault(_without_ear(file.case) if one_sided else file.case, []).append(file)
    else:
        scans = {scan.case: scan.path for scan in find_images(like)}
        for file in files:
            groups.setdefault(_scan_of(file, scans, like), []).append(file)
    jobs = []
    for case, parts in groups.items():
        written = [case] if like else [part.case for part in parts]
        paths = tuple(output_path(out, name, "Label") for name in written)
        way = (rules, one_sided, snap, fill_cysts)
        jobs.append(Job(case, paths, (parts, scans.get(case), paths, *way)))
    finish(run_cases("Cleaning", jobs, clean_case, options))


def _scan_of(label: "CaseFile", scans: dict[str, Path], like: str) -> str:
    """Return the scan's case that a label map belongs to: its own name, or without _R and _L."""
    from vsuda_cli.errors import VsudaError

    short = _without_ear(label.case)
    for case in (label.case, short):
        if case in scans:
            return case
    raise VsudaError(label.path, f"has no scan {short}_<tag>.nii.gz in {like}", "check --like")


def _without_ear(case: str) -> str:
    return case[:-2] if case.endswith(EARS) else case


def clean_case(
    parts: "Sequence[CaseFile]",
    scan: Path | None,
    paths: tuple[Path, ...],
    rules: "Rules",
    one_sided: bool,
    snap: bool,
    cysts: bool,
) -> "JobResult":
    """Clean the label maps of one subject into `paths`; with a scan, merge them on its grid.

    With `snap` their outlines move there to the scan's edges; with `cysts` the tumour's are filled.
    """
    from vsuda_cli.images.both_ears import clean_ears, keep_one_tumour
    from vsuda_cli.images.components import holds_both_ears
    from vsuda_cli.images.outlines import snap_outlines
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.nifti import load_image, load_label, save_label

    found = [load_label(part.path, len(rules.classes) + 1) for part in parts]
    ears = [
        part.case.endswith(EARS) or not holds_both_ears(volume.shape, volume.affine)
        for part, volume in zip(parts, found, strict=True)
    ]
    cleaned = clean_ears([(volume.array, volume.affine) for volume in found], ears, rules)
    maps = [(one[0], volume.affine) for one, volume in zip(cleaned, found, strict=True)]
    changes = [one[1] for one in cleaned]
    if one_sided:
        kept, more = keep_one_tumour(maps, rules)
        maps = [(labels, affine) for labels, (_, affine) in zip(kept, maps, strict=True)]
        changes = [[*gone, *also] for gone, also in zip(changes, more, strict=True)]
    told = [
        (part.case, gone, one[2]) for part, gone, one in zip(parts, changes, cleaned, strict=True)
    ]
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


def _without_cysts(
    labels: "Labels", affine: "Affine", rules: "Rules"
) -> "tuple[Labels, list[Removal]]":
    """Return a label map whose tumour has no cysts, and what was filled."""
    import numpy as np

    from vsuda_cli.images.components import Removal, voxel_mm3
    from vsuda_cli.images.cysts import fill_cysts

    filled = fill_cysts(labels, affine, rules.tumour)
    count = int(np.count_nonzero(filled != labels))
    if not count:
        return filled, []
    structure = rules.classes[rules.tumour - 1]
    return filled, [Removal(structure, "cysts", count, count * voxel_mm3(affine), "filled")]


def _merge(
    parts: "Sequence[CaseFile]",
    maps: "Sequence[tuple[Labels, Affine]]",
    scan: Path,
) -> "tuple[Labels, Affine]":
    """Return the label maps of both ears on their scan's grid, and its affine.

    Where crops overlap the right ear's structures stay, as in `vsuda predict`.
    """
    from functools import partial

    import numpy as np

    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images.cropping import place_back
    from vsuda_cli.io.nifti import read_geometry

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


def _tell(removed: "Sequence[Removal]") -> list[str]:
    """Return a phrase for each structure and rule; its largest component explains."""
    groups: dict[tuple[str, str], list[Removal]] = {}
    for one in removed:
        groups.setdefault((one.structure, one.rule), []).append(one)
    told = []
    for (structure, rule), some in groups.items():
        size = f"{sum(one.voxels for one in some)} voxels ({sum(one.mm3 for one in some):.1f} mm3)"
        if rule in ("holes", "cysts"):
            told.append(f"{structure}: {size} of {rule} filled")
            continue
        parts = "1 component" if len(some) == 1 else f"{len(some)} components"
        most = max(some, key=lambda one: one.voxels)
        told.append(f"{structure}: removed {parts}, {size}, {most.detail}")
    return told
