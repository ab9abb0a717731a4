"""`vsuda seg-train`: train the 2.5D U-Net on labelled images."""

from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import TrainingOptions, expand_options


@expand_options
def seg_train(
    labelled: Annotated[
        str, typer.Argument(help="Folder of images with their _Label maps, e.g. pseudo-images.")
    ],
    run: Annotated[Path, typer.Argument(help="Folder of the run, made new.")],
    options: TrainingOptions,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder of the label maps, if another one.")
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", help="Labelled images to validate on, instead of a split."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="Run whose best weights to start from.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", help="Names of labels 1, 2, ... [default: VS,cochlea]"),
    ] = None,
) -> None:
    """Train a segmentation network on labelled images.

    Example: vsuda seg-train pseudo runs/seg
    """
    from vsuda_cli.commands import segmenting
    from vsuda_cli.commands.training import begin, digest, dry_run, resolve_settings, train
    from vsuda_cli.config import SegmentationSettings
    from vsuda_cli.io.cases import labelled_images
    from vsuda_cli.training.data import Batches
    from vsuda_cli.training.engine import Objective, Validate
    from vsuda_cli.training.precision import choose_device
    from vsuda_cli.training.segmentation import VALIDATION_METRIC, Segmentation

    names = segmenting.class_names(classes)
    settings = resolve_settings(SegmentationSettings, options, classes=names)
    cases = labelled_images(labelled, labels)
    held_out = labelled_images(validation) if validation else []
    begin(run, options)
    if options.dry_run:
        dry_run(run, settings, options)
        return
    device = choose_device(options.device)

    def make() -> tuple[Objective, Batches, Validate]:
        training, kept = segmenting.load_labelled(cases, held_out, settings, device)
        objective = Segmentation(settings, device)
        if init:
            segmenting.start_from(init, objective.network, settings)
        batches = Batches({"labelled": segmenting.labelled_sampler(training, settings)})
        return (
            objective,
            batches,
            segmenting.validation_of(lambda: objective.network, kept, settings, device),
        )

    data = {
        "labelled": digest(cases),
        "validation": digest(held_out),
        "init": segmenting.weights_digest(init),
    }
    train(
        run,
        "seg-train",
        settings,
        options,
        data=data,
        make=make,
        metric=VALIDATION_METRIC,
        device=device,
    )
