"""`vsuda mt-train`: adapt a segmenter to unlabelled images with a mean teacher."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import ClassNames, TrainingOptions, expand_options


@expand_options
def mt_train(
    labelled: Annotated[
        str, typer.Argument(help="Folder of pseudo target images with their _Label maps.")
    ],
    unlabelled: Annotated[str, typer.Argument(help="Folder of real target images.")],
    run: Annotated[Path, typer.Argument(help="Folder of the run; its weights are the teacher's.")],
    options: TrainingOptions,
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation",
            metavar="DIR",
            help="Labelled images to validate on, instead of a split.",
        ),
    ] = None,
    pseudo_labels: Annotated[
        Path | None,
        typer.Option(
            "--pseudo-labels",
            metavar="DIR",
            help="Folder of predict --probabilities on the unlabelled images, to learn from too.",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init", metavar="DIR", help="Run whose best weights student and teacher start from."
        ),
    ] = None,
    classes: ClassNames = None,
) -> None:
    """Adapt a segmentation network to unlabelled target images with a mean teacher.

    Example: vsuda mt-train pseudo crops/target runs/mt --init runs/seg
    """
    from vsuda_cli.commands import known_labels, segmenting
    from vsuda_cli.commands.training import Plan, RunParts, begin, dry_run, train
    from vsuda_cli.config import MeanTeacherSettings
    from vsuda_cli.io.cases import find_images, labelled_images, tag_of_all
    from vsuda_cli.training.mean_teacher import MeanTeacher
    from vsuda_cli.training.sampling import Batches
    from vsuda_cli.training.segmenter import VALIDATION_METRIC, validation_dice

    settings = segmenting.resolve_segmenter(MeanTeacherSettings, options, classes)
    cases = labelled_images(labelled)
    held_out = labelled_images(validation) if validation else []
    images = find_images(unlabelled)
    real = [(image, None) for image in images]
    guesses = known_labels.pair_probabilities(images, pseudo_labels, settings)
    if init is not None:
        segmenting.weights_to_start_from(init, settings)
    device = begin(run, options)
    data = partial(segmenting.fingerprints, cases, held_out, real, guesses, init)
    plan = Plan(run, "mt-train", settings, options, data, device)
    if options.dry_run:
        dry_run(plan)
        return

    def make() -> RunParts:
        training, kept = segmenting.load_labelled(cases, held_out, settings, device)
        target = known_labels.load_target(real, guesses, settings, device)
        objective = MeanTeacher(settings, device)
        samplers = {"labelled": segmenting.labelled_sampler(training, settings, device)}
        if settings.curve_share > 0:
            objective.contrast = segmenting.known_contrast(training, target, settings, device)
            kept = segmenting.as_expected(kept, objective.contrast, settings, device)
        known = known_labels.known_of_target(target, training, guesses, settings)
        target, grafted, objective.lesions = known
        if grafted:
            samplers["grafted"] = segmenting.unlabelled_sampler(grafted, settings, device)
        if init:
            segmenting.start_from(init, objective.network, settings)
            objective.start_from_student()
        samplers["unlabelled"] = segmenting.unlabelled_sampler(target, settings, device)
        validate = partial(validation_dice, objective.teacher, kept, settings, device)
        return RunParts(objective, Batches(samplers), validate, kept)

    train(plan, make=make, metric=VALIDATION_METRIC, target_tag=tag_of_all(images))
