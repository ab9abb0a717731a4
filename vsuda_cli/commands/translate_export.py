"""`vsuda translate-export`: write pseudo target images with the labels of their sources."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli.options import CaseOptions, DeviceOptions, expand_options

if TYPE_CHECKING:
    from vsuda_cli.inference import Translator
    from vsuda_cli.io.batch import JobResult


@expand_options
def translate_export(
    run: Annotated[Path, typer.Argument(help="Run of translate-train or cutseg-train.")],
    source: Annotated[str, typer.Argument(help="Source images, labels beside them if there are.")],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_e080_<tag>.nii.gz.")],
    options: CaseOptions,
    device: DeviceOptions,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint", metavar="best|last|N", help="Which epochs' images; repeatable."
        ),
    ] = None,
    tag: Annotated[str, typer.Option("--tag", help="Tag of the pseudo-images.")] = "hrT2",
    largest_pass: Annotated[
        int,
        typer.Option(
            "--largest-pass",
            min=1,
            metavar="VOXELS",
            help="Images with more voxels go through a 3D network in overlapping windows.",
        ),
    ] = 8_000_000,
) -> None:
    """Translate source images with one or several epochs of a run; their labels come along.

    Pseudo-images lie on the training grid, scaled to [0, 1], in 32 bit floats.

    Example: vsuda translate-export runs/cyclegan crops/source pseudo --checkpoint 8 --checkpoint 12
    """
    from vsuda_cli import console
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.inference import load_translator
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import find_images, label_beside, output_path, refuse_same_folder
    from vsuda_cli.training.precision import choose_device

    console.set_up_logging(options.quiet, options.verbose)
    images = find_images(source)
    refuse_same_folder(out, [source])
    where = choose_device(device.device)
    # `best` and `last` may be one and the same epoch.
    translators = {}
    for wanted in checkpoint or ["best"]:
        translator = load_translator(run, wanted, where, largest_pass=largest_pass)
        translators[translator.epoch] = translator
    jobs = []
    for epoch, translator in sorted(translators.items()):
        for image in images:
            label = label_beside(image)
            case = f"{image.case}_e{epoch:03d}"
            tags = (tag,) if label is None else (tag, "Label")
            outputs = tuple(output_path(out, case, one) for one in tags)
            jobs.append(Job(case, outputs, (translator, image.path, label, outputs)))
    finish(run_cases("Translating", jobs, translate_case, options))


def translate_case(
    translator: "Translator", image: Path, label: Path | None, outputs: tuple[Path, ...]
) -> "JobResult":
    """Translate one image; its label map is brought to the same grid."""
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.nifti import load_image, load_label, same_grid, save_image, save_label

    volume = load_image(image)
    if label is not None:
        labels = load_label(label)
        if not same_grid(volume, labels):
            raise VsudaError(label, f"is on another grid than {image.name}", "resample the label")
        save_label(outputs[1], *translator.translate_label(labels))
    save_image(outputs[0], *translator.translate(volume))
    return JobResult(outputs, {"epoch": translator.epoch})
