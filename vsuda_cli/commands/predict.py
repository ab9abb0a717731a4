"""`vsuda predict`: segment images with a trained run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli import console
from vsuda_cli.options import NetworkOptions, expand_options

if TYPE_CHECKING:
    from vsuda_cli.commands.ear_crops import CropSettings
    from vsuda_cli.io.cases import CaseFile


@expand_options
def predict(
    run: Annotated[Path, typer.Argument(help="Run of seg-train, mt-train or cutseg-train.")],
    images: Annotated[
        str, typer.Argument(help="Folder of images, one image, or -: paths on stdin.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_Label.nii.gz.")],
    options: NetworkOptions,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            "--ensemble", metavar="DIR", help="Average with this run's result; repeatable."
        ),
    ] = None,
    atlas: Annotated[
        Path | None,
        typer.Option(
            "--atlas",
            metavar="FILE",
            help="For whole scans and a run of crops: the head to register them to.",
        ),
    ] = None,
    roi: Annotated[
        Path | None,
        typer.Option("--roi", metavar="FILE", help="Region of the atlas' right ear, as a mask."),
    ] = None,
    side: Annotated[
        str,
        typer.Option(
            "--side", metavar="both|left|right", help="Which ears of whole scans to segment."
        ),
    ] = "both",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write <case>_Probability.nii.gz too.")
    ] = False,
    inplane_above: Annotated[
        float | None,
        typer.Option("--inplane-above", metavar="MM", help="Only images with coarser pixels."),
    ] = None,
    inplane_below: Annotated[
        float | None,
        typer.Option(
            "--inplane-below", metavar="MM", help="Only images with pixels of this size or finer."
        ),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last|N", help="Which epoch's weights.")
    ] = "best",
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Average with the left-right mirrored image.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a page with pictures (HTML)."),
    ] = None,
    largest_pass: Annotated[
        int,
        typer.Option(
            "--largest-pass",
            min=0,
            metavar="VOXELS",
            help="Images of up to so many voxels go through the network whole, larger ones in "
            "windows of the training's patch size.",
        ),
    ] = 0,
) -> None:
    """Segment images with a trained run, on the images' own grids.

    A run trained on crops takes whole scans too, given --atlas and --roi: both ears, or that of
    --side, are cut out, segmented and put back. The two --inplane options route cases by pixel
    size, the larger of the two in plane, so that two runs can share the work without doing a case
    twice.

    Example: vsuda predict runs/mt crops/validation predictions/mt --probabilities
    """
    from vsuda_cli.commands import predicting
    from vsuda_cli.commands.crop_records import outliers
    from vsuda_cli.commands.prediction_report import check_report, report_predictions
    from vsuda_cli.commands.running import (
        device_threads,
        finish,
        rank_device,
        run_on_device,
    )
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import find_images, output_path, refuse_same_folder
    from vsuda_cli.training.ranks import launched

    console.set_up_logging(options.quiet, options.verbose)
    check_report(report, options)
    if report is not None and launched() > 1:
        remedy = "give it to one process afterwards, with --skip-existing"
        raise VsudaError("--report", "would hold the share of one process only", remedy)
    crops = _crop_settings(atlas, roi, side)
    cases = find_images(images)
    refuse_same_folder(out, [images], [case.path for case in cases])
    chosen = [case for case in cases if _is_wanted(case, inplane_above, inplane_below)]
    if len(chosen) < len(cases):
        console.say(f"{len(cases) - len(chosen)} of {len(cases)} images are left to another run")
    recipe = predicting.Recipe(
        (run, *(ensemble or [])),
        checkpoint,
        rank_device(options.device),
        mirror,
        largest_pass,
        crops,
    )
    segmenter = recipe.segmenter()
    predicting.refuse_scans(chosen, segmenter, run, crops)
    for line in predicting.other_tags(chosen, segmenter, recipe.runs):
        console.say(line)
    tags = ("Label", "Probability") if probabilities else ("Label",)
    jobs = []
    for case in chosen:
        outputs = tuple(output_path(out, case.case, tag) for tag in tags)
        siblings = () if probabilities else (output_path(out, case.case, "Probability"),)
        jobs.append(Job(case.case, outputs, (case, outputs), siblings))
    stages, threads = recipe.stages(segmenter), device_threads(segmenter.device.type)
    outcome = run_on_device("Predicting", jobs, stages, recipe, options, threads)
    for line in outliers(outcome.results):
        console.say(line)
    scans, labels = {c.case: c.path for c in chosen}, {job.case: job.outputs[0] for job in jobs}
    if not options.dry_run:
        report_predictions(report, scans, labels, outcome, segmenter.settings.classes)
    finish(outcome)


def _crop_settings(atlas: Path | None, roi: Path | None, side: str) -> "CropSettings | None":
    """Return how ears are cut out, as `vsuda crop` does unless told otherwise."""
    from vsuda_cli.commands.ear_crops import CropSettings, load_atlas, sides_of
    from vsuda_cli.errors import VsudaError

    sides = sides_of(side)
    if atlas is None and roi is None:
        if side != "both":
            problem = "is of no use without --atlas: images are segmented as they are"
            raise VsudaError(f"--side {side}", problem, "give --atlas and --roi, or leave it away")
        return None
    if atlas is None or roi is None:
        given, other = ("--roi", "--atlas") if atlas is None else ("--atlas", "--roi")
        raise VsudaError(given, f"is given without {other}", "give both, as vsuda atlas made them")
    load_atlas(atlas, roi)
    return CropSettings(atlas, roi, sides, size=None, spacing_mm=None)


def _is_wanted(image: "CaseFile", above: float | None, below: float | None) -> bool:
    from vsuda_cli.images.geometry import pixel_mm
    from vsuda_cli.io.nifti import read_geometry

    if above is None and below is None:
        return True
    inplane = pixel_mm(read_geometry(image.path).affine)
    return (above is None or inplane > above) and (below is None or inplane <= below)
