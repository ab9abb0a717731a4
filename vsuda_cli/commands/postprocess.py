"""`vsuda postprocess`: clean label maps and put both ears back on the scan's grid."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli.options import BatchOptions, ClassNames, expand_options

if TYPE_CHECKING:
    from vsuda_cli.io.cases import CaseFile


@expand_options
def postprocess(
    labels: Annotated[
        str, typer.Argument(help="Folder of <case>_Label, one file, or -: paths on stdin.")
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
            metavar="MM",
            help="Drop tumour components centred this far above the cochlea.",
            show_default="22.5",
        ),
    ] = None,
    height_rule: Annotated[
        bool,
        typer.Option(
            "--height-rule/--no-height-rule", help="The rule of --max-above-mm.", show_default="on"
        ),
    ] = True,
    max_distance_mm: Annotated[
        float | None,
        typer.Option(
            "--max-distance-mm",
            metavar="MM",
            min=0,
            help="Drop tumour components with no voxel this near to the cochlea.",
            show_default="off",
        ),
    ] = None,
    one_sided: Annotated[
        bool,
        typer.Option(
            "--one-sided", help="Keep the largest tumour of both ears: it is on one side."
        ),
    ] = False,
    largest: Annotated[
        bool,
        typer.Option(
            "--largest/--no-largest",
            help="Keep each class's largest component.",
            show_default="on",
        ),
    ] = True,
    smallest_mm3: Annotated[
        float,
        typer.Option(
            "--smallest-mm3", metavar="MM3", min=0, help="Drop components smaller than this."
        ),
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

    Example: vsuda postprocess fused final --like data/target_validation
    """
    from vsuda_cli import console
    from vsuda_cli.commands.cleaning import clean_case
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.commands.structures import parse_classes
    from vsuda_cli.config import CLASSES
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images.components import CONNECTIVITY, MAX_ABOVE_MM, Rules
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import (
        find_images,
        find_labels,
        output_path,
        refuse_same_folder,
        without_ear,
    )

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
            groups.setdefault(without_ear(file.case) if one_sided else file.case, []).append(file)
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
    from vsuda_cli.io.cases import without_ear

    short = without_ear(label.case)
    for case in (label.case, short):
        if case in scans:
            return case
    raise VsudaError(label.path, f"has no scan {short}_<tag>.nii.gz in {like}", "check --like")
