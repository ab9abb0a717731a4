"""`vsuda predict`: segment images with a trained run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli import console
from vsuda_cli.options import CaseOptions, DeviceOptions, expand_options

if TYPE_CHECKING:
    from vsuda_cli.inference import Segmenter
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.cases import CaseFile


@expand_options
def predict(
    run: Annotated[Path, typer.Argument(help="Run of seg-train, mt-train or cutseg-train.")],
    images: Annotated[str, typer.Argument(help="Folder of images, one image, or - for a list.")],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_Label.nii.gz.")],
    options: CaseOptions,
    device: DeviceOptions,
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
        Path | None, typer.Option("--report", help="Write a page with pictures (HTML).")
    ] = None,
    largest_pass: Annotated[
        int,
        typer.Option(
            "--largest-pass",
            min=1,
            metavar="VOXELS",
            help="Images with more voxels go through the network in overlapping windows.",
        ),
    ] = 8_000_000,
) -> None:
    """Segment images with a trained run, on the images' own grids.

    The two --inplane options route cases by pixel size, the larger of the two in plane, so that
    two runs can share the work without doing a case twice.

    Example: vsuda predict runs/mt crops/target_validation predictions --probabilities
    """
    from vsuda_cli.commands.prediction_report import check_report, report_predictions
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.inference import load_segmenter
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import find_images, output_path, refuse_same_folder
    from vsuda_cli.training.precision import choose_device

    console.set_up_logging(options.quiet, options.verbose)
    check_report(report, options)
    cases = find_images(images)
    refuse_same_folder(out, [images])
    chosen = [case for case in cases if _is_wanted(case, inplane_above, inplane_below)]
    if len(chosen) < len(cases):
        console.say(f"{len(cases) - len(chosen)} of {len(cases)} images are left to another run")
    segmenter = load_segmenter(
        run, checkpoint, choose_device(device.device), largest_pass=largest_pass, mirror=mirror
    )
    tags = ("Label", "Probability") if probabilities else ("Label",)
    jobs = []
    for case in chosen:
        outputs = tuple(output_path(out, case.case, tag) for tag in tags)
        jobs.append(Job(case.case, outputs, (segmenter, case, outputs)))
    outcome = run_cases("Predicting", jobs, predict_case, options)
    scans, labels = {c.case: c.path for c in chosen}, {job.case: job.outputs[0] for job in jobs}
    report_predictions(report, scans, labels, outcome, segmenter.settings.classes)
    finish(outcome)


def _is_wanted(image: "CaseFile", above: float | None, below: float | None) -> bool:
    from vsuda_cli.io.nifti import read_geometry

    if above is None and below is None:
        return True
    inplane = float(read_geometry(image.path).spacing_mm[:2].max())
    return (above is None or inplane > above) and (below is None or inplane <= below)


def predict_case(
    segmenter: "Segmenter", image: "CaseFile", outputs: "tuple[Path, ...]"
) -> "JobResult":
    """Segment one image; `outputs` are the label map and, when wanted, the probability map."""
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.nifti import load_image, save_label, save_probability

    volume = load_image(image.path)
    found = segmenter.probabilities(volume)
    if len(outputs) > 1:
        save_probability(outputs[1], found, volume.affine)
    save_label(outputs[0], found.argmax(axis=-1), volume.affine)
    return JobResult(outputs, {"epoch": segmenter.epoch})
