"""`vsuda translate-train`: learn to turn source images into target images, without pairs."""

from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import TrainingOptions, expand_options


@expand_options
def translate_train(
    source: Annotated[str, typer.Argument(help="Folder of source images, e.g. ceT1 crops.")],
    target: Annotated[str, typer.Argument(help="Folder of target images, e.g. hrT2 crops.")],
    run: Annotated[Path, typer.Argument(help="Folder to make for the run.")],
    options: TrainingOptions,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="cyclegan|cut|fastcut|curve",
            help="Networks, or one intensity curve fitted to aligned crops.",
            show_default="cyclegan",
        ),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option(
            "--dims", metavar="2|3", help="2: slice by slice; 3: slabs of slices.", show_default="2"
        ),
    ] = None,
    segmenter: Annotated[
        Path | None,
        typer.Option(
            "--segmenter",
            metavar="DIR",
            help="Run whose network must find the source's labels in their translations.",
        ),
    ] = None,
) -> None:
    """Train a translation network from source to target images; no pairs are needed.

    With --segmenter the source's label maps, beside its images, keep the structures in place; the
    run should know many contrasts (seg-train --set curve_share=0.9 --set structure_share=0.5).

    Example: vsuda translate-train crops/source crops/target runs/cyclegan --method cyclegan
    """
    from vsuda_cli import console
    from vsuda_cli.commands.segmenting import refuse_other_preprocessing, weights_digest
    from vsuda_cli.commands.training import (
        Plan,
        RunParts,
        begin,
        digest,
        dry_run,
        load_items,
        resolve_settings,
        train,
    )
    from vsuda_cli.config import Augmentation, TranslationSettings
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.inference import load_network
    from vsuda_cli.io.cases import CaseFile, find_images, labelled_images, tag_of_all
    from vsuda_cli.training.curve import Curve
    from vsuda_cli.training.cut import Cut
    from vsuda_cli.training.cyclegan import CycleGan
    from vsuda_cli.training.data import split
    from vsuda_cli.training.guide import Guide
    from vsuda_cli.training.sampling import Batches, PatchSampler
    from vsuda_cli.training.translation import (
        VALIDATION_METRIC,
        TranslationNetwork,
        refuse_impossible,
        validation_distance,
    )

    settings = resolve_settings(TranslationSettings, options, method=method, dims=dims)
    refuse_impossible(settings)
    from_images: list[tuple[CaseFile, Path | None]] = [(i, None) for i in find_images(source)]
    if segmenter is not None and settings.method == "curve":
        raise VsudaError("--segmenter", "cannot guide a curve", "choose a network by --method")
    ranges = settings.structure_ranges
    if ranges and settings.method != "curve":
        problem = f"would not be used by {settings.method}"
        raise VsudaError("--set structure_ranges", problem, "only --method curve draws labels")
    if segmenter is not None or ranges:
        from_images = list(labelled_images(source))
    to_images = [(image, None) for image in find_images(target)]
    device = begin(run, options)
    guide = None
    if segmenter is not None:
        guide = load_network(segmenter, "best", device)
        refuse_other_preprocessing(segmenter, guide.settings, settings)

    def data() -> dict[str, str]:
        return {
            "source": digest(from_images),
            "target": digest(to_images),
            "segmenter": weights_digest(segmenter),
        }

    plan = Plan(run, "translate-train", settings, options, data, device)
    if options.dry_run:
        dry_run(plan)
        return

    def make() -> RunParts:
        preprocessing, size = settings.preprocessing, settings.patch_size
        classes = 1 + len(ranges if guide is None else guide.settings.classes)
        first = load_items("Loading source images", from_images, preprocessing, classes, device)
        second = load_items("Loading target images", to_images, preprocessing, 1, device)
        sources, held_sources = split(first, settings.validation_fraction, settings.seed)
        targets, held_targets = split(second, settings.validation_fraction, settings.seed)
        console.say(f"{len(sources)} source and {len(targets)} target images to train on")
        objective: CycleGan | Cut | Curve
        if settings.method == "curve":
            objective = Curve(sources, targets, ranges, device)
            generator: TranslationNetwork = objective.generator
        elif settings.method == "cyclegan":
            objective = CycleGan(settings, device)
            generator = objective.to_target
        else:
            objective = Cut(settings, device)
            generator = objective.generator
        count, seed = settings.batch_size * settings.accumulate, settings.seed
        # Neither turned nor changed in intensity: the networks learn what the scans look like.
        samplers = {
            "source": PatchSampler(sources, size, count, None, seed, device),
            "target": PatchSampler(targets, size, count, None, seed + 1, device),
        }
        if guide is not None and not isinstance(objective, Curve):
            objective.guide = Guide(guide.network, settings, device)
            still = Augmentation(rotation_degrees=0, scale=0)
            # One volume for each part of a batch: a stack is many slices.
            stack = guide.settings.patch_size
            samplers["stack"] = PatchSampler(
                sources, stack, settings.accumulate, still, seed + 2, device
            )

        def validate() -> dict[str, float]:
            mixed = settings.mixed_precision
            return validation_distance(generator, held_sources, held_targets, device, mixed=mixed)

        return RunParts(objective, Batches(samplers), validate, [*held_sources, *held_targets])

    tag = tag_of_all([image for image, _ in to_images])
    train(plan, make=make, metric=VALIDATION_METRIC, target_tag=tag)
