"""`vsuda translate-export`: write pseudo target images with the labels of their sources."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli.config import LARGEST_PASS
from vsuda_cli.options import NetworkOptions, expand_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.pipeline import Stages
    from vsuda_cli.networks.to_host import ToHost
    from vsuda_cli.prepared import Prepared
    from vsuda_cli.translating import Translator


@expand_options
def translate_export(
    run: Annotated[Path, typer.Argument(help="Run of translate-train or cutseg-train.")],
    source: Annotated[str, typer.Argument(help="Source images, labels beside them if there are.")],
    out: Annotated[Path, typer.Argument(help="Folder for <case>_e080_<tag>.nii.gz.")],
    options: NetworkOptions,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--checkpoint",
            metavar="best|last|N",
            help="Which epochs' images; repeatable.",
            show_default="best",
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option("--tag", help="Tag of the pseudo-images.", show_default="the run's target's"),
    ] = None,
    largest_pass: Annotated[
        int,
        typer.Option(
            "--largest-pass",
            min=1,
            metavar="VOXELS",
            help="Images of up to so many voxels go through the network whole, larger ones in "
            "overlapping windows.",
        ),
    ] = LARGEST_PASS,
) -> None:
    """Translate source images with one or several epochs of a run; their labels come along.

    Pseudo-images lie on the training grid, scaled to [0, 1], in 16 bits.

    Example: vsuda translate-export runs/cyclegan crops/source pseudo --checkpoint 8 --checkpoint 12
    """
    from vsuda_cli import console
    from vsuda_cli.commands.running import device_threads, finish, rank_device, run_on_device
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import (
        NOT_IMAGES,
        find_images,
        label_beside,
        output_path,
        refuse_same_folder,
    )
    from vsuda_cli.translating import target_tag

    console.set_up_logging(options.quiet, options.verbose)
    images = find_images(source)
    refuse_same_folder(out, [source], [image.path for image in images])
    wanted = tuple(checkpoint or ["best"])
    tag = target_tag(run, wanted[0]) if tag is None else tag
    if not tag or "_" in tag or "/" in tag or tag in NOT_IMAGES:
        raise VsudaError(f"--tag {tag or ''}", "is no tag of an image", "give one, as hrT2 or ceT1")
    recipe = Recipe(run, wanted, rank_device(options.device), largest_pass)
    translators = recipe.translators()
    jobs = []
    for image in images:
        label = label_beside(image)
        tags = (tag,) if label is None else (tag, "Label")
        for epoch in translators:
            case = f"{image.case}_e{epoch:03d}"
            outputs = tuple(output_path(out, case, one) for one in tags)
            siblings = (output_path(out, case, "Label"),) if label is None else ()
            jobs.append(Job(case, outputs, ((image.path, label), (epoch, outputs)), siblings))
    threads = device_threads(next(iter(translators.values())).device.type)
    stages = recipe.stages(translators)
    finish(run_on_device("Translating", jobs, stages, recipe, options, threads))


Translators = dict[int, "Translator"]
# A pseudo-image's epoch and its outputs.
Target = tuple[int, tuple[Path, ...]]


@dataclass(frozen=True)
class Recipe:
    """What a process needs to translate: a run and its checkpoints, without their networks."""

    run: Path
    checkpoints: tuple[str, ...]
    device: str
    largest_pass: int

    def translators(self) -> Translators:
        """Load the checkpoints, by epoch: `best` and `last` may be one and the same."""
        from vsuda_cli.training.device import choose_device
        from vsuda_cli.translating import load_translator

        chosen_device = choose_device(self.device)
        found = {}
        for wanted in self.checkpoints:
            translator = load_translator(self.run, wanted, chosen_device, self.largest_pass)
            found[translator.epoch] = translator
        return found

    def stages(self, translators: Translators) -> "Stages":
        """Return the three stages; what is loaded for one of a run's epochs is for all."""
        from vsuda_cli.io.pipeline import Stages

        one = next(iter(translators.values()))
        return Stages(partial(load, one), partial(compute, translators), save)

    def __call__(self) -> "Stages":
        """Load the checkpoints and return the stages."""
        return self.stages(self.translators())


@dataclass(frozen=True)
class LabelledImage:
    """An image on the training grid, and its label map there if it has one."""

    prepared: "Prepared"
    label: "NDArray[np.uint8] | None"


@dataclass(frozen=True)
class Pseudo:
    """A translated image (X, Y, Z), on its way to the host, and what it was made from."""

    image: "ToHost"
    source: LabelledImage


def load(translator: "Translator", source: tuple[Path, Path | None]) -> LabelledImage:
    """Load and preprocess one image; its label map is brought to the same grid."""
    from vsuda_cli.io.nifti import load_image, load_label_on

    image, label = source
    volume = load_image(image)
    on_grid = None
    if label is not None:
        labels = load_label_on(volume, label)
        on_grid, _ = translator.prepare_label(labels.array, labels.affine)
    return LabelledImage(translator.prepare(volume.array, volume.affine, image), on_grid)


def compute(translators: Translators, source: LabelledImage, target: Target) -> Pseudo:
    """Translate one image, without waiting for a GPU: it can start the next one meanwhile."""
    from vsuda_cli.networks.to_host import ToHost

    pseudo = translators[target[0]].pseudo(source.prepared, source.label)
    return Pseudo(ToHost(pseudo), source)


def save(pseudo: Pseudo, target: Target) -> "JobResult":
    """Write a pseudo-image, after its label map if it has one."""
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.nifti import save_fractions, save_label

    epoch, outputs = target
    affine = pseudo.source.prepared.affine
    if pseudo.source.label is not None:
        save_label(outputs[1], pseudo.source.label, affine)
    save_fractions(outputs[0], pseudo.image.arrived().numpy(), affine)
    return JobResult(outputs, {"epoch": epoch})
