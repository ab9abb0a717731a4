"""`vsuda cutseg-train`: train CUT and a segmenter end to end, then fine-tune on coarse scans."""

import dataclasses
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import ClassNames, TrainingOptions, expand_options


@expand_options
def cutseg_train(
    source: Annotated[str, typer.Argument(help="Folder of source images with _Label maps.")],
    target: Annotated[str, typer.Argument(help="Folder of target images.")],
    run: Annotated[Path, typer.Argument(help="Folder of the run; fine-tuned/ lies inside.")],
    options: TrainingOptions,
    init_translation: Annotated[
        Path,
        typer.Option(
            "--init-translation",
            metavar="DIR",
            help="Run of translate-train --method cut to go on.",
        ),
    ],
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="DIR",
            help="Segmentation run to agree with on real target images.",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init", metavar="DIR", help="Run whose best weights the segmenter starts from."
        ),
    ] = None,
    pseudo_labels: Annotated[
        Path | None,
        typer.Option(
            "--pseudo-labels",
            metavar="DIR",
            help="Folder of predict --probabilities on the target images, to learn from too.",
        ),
    ] = None,
    classes: ClassNames = None,
) -> None:
    """Train a translation and a segmentation network together, end to end.

    Afterwards the run is fine-tuned, in RUN/fine-tuned, on the target scans whose pixels are
    larger than the setting fine_tune_above_mm; predict routes images with --inplane-above.

    Example: vsuda cutseg-train crops/source crops/target runs/cutseg --init-translation runs/cut
    """
    from vsuda_cli import console
    from vsuda_cli.commands import cutseg_inputs, known_labels, segmenting
    from vsuda_cli.commands.training import Plan, begin, digest, dry_run, goes_on, train
    from vsuda_cli.config import CutSegSettings
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.cases import CaseFile, find_images, labelled_images, tag_of_all
    from vsuda_cli.resolving import to_dict
    from vsuda_cli.training.run import Run
    from vsuda_cli.training.segmenter import VALIDATION_METRIC

    settings = segmenting.resolve_segmenter(CutSegSettings, options, classes)
    if settings.curve_distance < 1:
        problem = "is about a curve between two contrasts, and pseudo-images have the target's"
        raise VsudaError("--set curve_distance", problem, "leave it away")
    labelled = labelled_images(source)
    real = find_images(target)
    guesses = known_labels.pair_probabilities(real, pseudo_labels, settings)
    if init is not None:
        segmenting.weights_to_start_from(init, settings)
    device = begin(run, options)
    translation = cutseg_inputs.translation_settings(init_translation, settings)
    tutor = cutseg_inputs.load_teacher(teacher, settings, device)

    @cache
    def data_of_both() -> dict[str, str]:
        return {
            "source": digest(labelled),
            "translation": segmenting.weights_digest(init_translation),
            "teacher": segmenting.weights_digest(teacher),
            "init": segmenting.weights_digest(init),
            "pseudo_labels": digest(guesses),
        }

    def plan(folder: Path, stage: CutSegSettings, images: Sequence[CaseFile]) -> Plan:
        # Fine-tuning belongs to its run: it goes on, or starts anew, together with it.
        again = options
        if folder != run and not Run(folder).exists():
            again = dataclasses.replace(options, force=False)

        def data() -> dict[str, str]:
            return {**data_of_both(), "target": digest([(image, None) for image in images])}

        return Plan(folder, "cutseg-train", stage, again, data, device)

    coarse = []
    # A dry run of what is to be started reads no image.
    if not options.dry_run or goes_on(run, options):
        coarse = cutseg_inputs.coarser_than(real, settings.fine_tune_above_mm)
    stages = [(run, settings, real, init_translation)]
    if coarse and settings.fine_tune_epochs:
        fine_tuning = dataclasses.replace(settings, epochs=settings.fine_tune_epochs)
        stages.append((Run(run).fine_tuned.folder, fine_tuning, coarse, run))
    if options.dry_run:
        dry_run(*(plan(folder, stage, images) for folder, stage, images, _ in stages))
        return
    parts = cutseg_inputs.Parts(labelled, guesses, translation, tutor, init, device)
    for folder, stage, images, start in stages:
        train(
            plan(folder, stage, images),
            make=partial(parts.make, stage, images, start, fine_tuning=folder != run),
            metric=VALIDATION_METRIC,
            target_tag=tag_of_all(real),
            extra_metadata={"translation": to_dict(translation)},
        )
    if len(stages) == 1:
        limit = settings.fine_tune_above_mm
        console.say(f"no fine-tuning: {len(coarse)} target images have pixels above {limit} mm")
