"""`vsuda crop`: cut both inner ears out of whole scans."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vsuda_cli import console
from vsuda_cli.options import BatchOptions, expand_options

if TYPE_CHECKING:
    from vsuda_cli.io.cases import CaseFile


@expand_options
def crop(
    images: Annotated[str, typer.Argument(help="Folder of scans, one scan, or -: paths on stdin.")],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_R_<tag> and <case>_L_<tag>.")],
    atlas: Annotated[
        Path,
        typer.Option(
            "--atlas", metavar="FILE", help="Image of a typical head, as vsuda atlas made it."
        ),
    ],
    roi: Annotated[
        Path,
        typer.Option("--roi", metavar="FILE", help="Region of the atlas' right ear, as a mask."),
    ],
    options: BatchOptions,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            help="Folder of label maps, if they are not beside the scans.",
        ),
    ] = None,
    side: Annotated[
        str, typer.Option("--side", metavar="both|left|right", help="Which ears to cut out.")
    ] = "both",
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="X,Y,Z",
            help="Voxels of every crop, about its middle.",
            show_default="the region's",
        ),
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing",
            metavar="X,Y,Z",
            help="Resample crops to this spacing in mm.",
            show_default="the scan's",
        ),
    ] = None,
    transforms: Annotated[
        Path | None,
        typer.Option(
            "--transforms",
            metavar="DIR",
            help="The transforms/ of an earlier call on these scans: nothing is registered anew.",
        ),
    ] = None,
) -> None:
    """Cut both inner ears out of scans, by registering each to one atlas.

    Left ears are mirrored, so that all look like right ones; every crop's affine still tells where
    it lies in the scan. Label maps beside the scans are cut alike. transforms/ and qc.png record
    how it went. A scan that cannot be registered is a failed case. With --transforms, scans are cut
    where an earlier call found their ears: with labels, or at another size, in a moment.

    Example: vsuda crop target crops --atlas atlas/atlas_ceT1.nii.gz --roi atlas/atlas_ROI.nii.gz
    """
    from vsuda_cli.commands.crop_records import outliers, record_path
    from vsuda_cli.commands.crop_sheets import write_sheets
    from vsuda_cli.commands.ear_crops import (
        CropSettings,
        crop_case,
        crop_outputs,
        load_atlas,
        sides_of,
    )
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import (
        find_images,
        label_beside,
        labelled_images,
        refuse_same_folder,
    )

    console.set_up_logging(options.quiet, options.verbose)
    sides = sides_of(side)
    wanted_size = None if size is None else _three("--size", size, int)
    wanted_spacing = None if spacing is None else _three("--spacing", spacing, float)
    settings = CropSettings(atlas, roi, sides, wanted_size, wanted_spacing, transforms)
    # Labels that were asked for must be there; those beside the scans may be.
    pairs: list[tuple[CaseFile, Path | None]]
    if labels is None:
        pairs = [(case, label_beside(case)) for case in find_images(images)]
    else:
        pairs = list(labelled_images(images, labels))
    if transforms is not None and not transforms.is_dir():
        raise VsudaError(transforms, "is no folder", "give the transforms/ that vsuda crop wrote")
    sources: list[str | Path] = [images, atlas, *([] if labels is None else [labels])]
    refuse_same_folder(out, sources, [case.path for case, _ in pairs])
    load_atlas(atlas, roi)
    jobs = []
    for case, label in pairs:
        outputs = crop_outputs(out, case, sides, label is not None)
        record = record_path(out, case.case)
        both = crop_outputs(out, case, sides, True)
        siblings = tuple(path for path in both if path not in outputs)
        jobs.append(Job(case.case, (*outputs, record), (case, label, settings, out), siblings))
    outcome = run_cases("Cropping", jobs, crop_case, options)
    if not options.dry_run:
        done = {*outcome.results, *outcome.skipped}
        kept = [case for case, _ in pairs if case.case in done]
        crops = [path for case in kept for path in crop_outputs(out, case, sides, False)]
        share = "" if options.shard is None else "-" + options.shard.replace("/", "-of-")
        write_sheets(out / f"qc{share}.png", crops)
        for line in outliers(outcome.results):
            console.say(line)
    finish(outcome)


def _three(option: str, text: str, kind: Any) -> Any:
    """Return three positive numbers written as X,Y,Z."""
    from vsuda_cli.errors import VsudaError

    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < 1e6 for number in numbers):
        raise VsudaError(f"{option} {text}", "is not three positive numbers", "write X,Y,Z")
    return numbers
