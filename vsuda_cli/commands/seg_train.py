"""`vsuda seg-train`: train the 2.5D U-Net on labelled images."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import ClassNames, TrainingOptions, expand_options


@expand_options
def seg_train(
    labelled: Annotated[
        str, typer.Argument(help="Folder of images with their _Label maps, e.g. pseudo-images.")
    ],
    run: Annotated[Path, typer.Argument(help="Folder to make for the run.")],
    options: TrainingOptions,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="DIR", help="Folder of the label maps, if another one."),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation",
            metavar="DIR",
            help="Labelled images to validate on, instead of a split.",
        ),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            "--unlabelled",
            metavar="DIR",
            help="Crops of the contrast to segment, for random curves or for --pseudo-labels.",
        ),
    ] = None,
    pseudo_labels: Annotated[
        Path | None,
        typer.Option(
            "--pseudo-labels",
            metavar="DIR",
            help="Folder of predict --probabilities on the --unlabelled crops, to learn from too.",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="DIR", help="Run whose best weights to start from."),
    ] = None,
    classes: ClassNames = None,
) -> None:
    """Train a segmentation network on labelled images.

    Example: vsuda seg-train pseudo runs/seg
    """
    from vsuda_cli.commands import known_labels, segmenting
    from vsuda_cli.commands.training import Plan, RunParts, begin, dry_run, train
    from vsuda_cli.config import SegmentationSettings
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.cases import find_images, labelled_images, tag_of_all
    from vsuda_cli.training.sampling import Batches
    from vsuda_cli.training.segmentation import Segmentation
    from vsuda_cli.training.segmenter import VALIDATION_METRIC, validation_dice

    settings = segmenting.resolve_segmenter(SegmentationSettings, options, classes)
    cases = labelled_images(labelled, labels)
    held_out = labelled_images(validation) if validation else []
    real = [(image, None) for image in find_images(unlabelled)] if unlabelled else []
    background = settings.marks_background and bool(real)
    if real and settings.curve_share == 0 and pseudo_labels is None and not background:
        remedy = "give --pseudo-labels, or --set curve_share=1, or --set background_margin_mm=8"
        raise VsudaError("--unlabelled", "would not be used", remedy)
    if settings.background_margin_mm > 0 and not real:
        remedy = "give --unlabelled FOLDER"
        raise VsudaError("--set background_margin_mm", "has no images to mark", remedy)
    if pseudo_labels is not None and unlabelled is None:
        raise VsudaError("--pseudo-labels", "have no images", "give --unlabelled FOLDER")
    images = [image for image, _ in real]
    guesses = known_labels.pair_probabilities(images, pseudo_labels, settings)
    if init is not None:
        segmenting.weights_to_start_from(init, settings)
    device = begin(run, options)
    data = partial(segmenting.fingerprints, cases, held_out, real, guesses, init)
    plan = Plan(run, "seg-train", settings, options, data, device)
    if options.dry_run:
        dry_run(plan)
        return

    def make() -> RunParts:
        training, kept = segmenting.load_labelled(cases, held_out, settings, device)
        objective = Segmentation(settings, device)
        samplers = {"labelled": segmenting.labelled_sampler(training, settings, device)}
        target = known_labels.load_target(real, guesses, settings, device) if real else []
        if settings.curve_share > 0:
            objective.contrast = segmenting.known_contrast(training, target, settings, device)
            kept = segmenting.as_expected(kept, objective.contrast, settings, device)
        known = known_labels.known_of_target(target, training, guesses, settings)
        target, grafted, objective.lesions = known
        if grafted:
            samplers["grafted"] = segmenting.unlabelled_sampler(grafted, settings, device)
        if guesses or background:
            # Half as many as labelled ones: what they teach is less, and a step costs as much.
            half = dataclasses.replace(settings, batch_size=(settings.batch_size + 1) // 2)
            samplers["pseudo"] = segmenting.unlabelled_sampler(target, half, device)
        if init:
            segmenting.start_from(init, objective.network, settings)
        validate = partial(validation_dice, objective.network, kept, settings, device)
        return RunParts(objective, Batches(samplers), validate, kept)

    tag = tag_of_all(images or [image for image, _ in cases])
    train(plan, make=make, metric=VALIDATION_METRIC, target_tag=tag)
