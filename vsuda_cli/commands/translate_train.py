"""`vsuda translate-train`: learn to turn source images into target images, without pairs."""

from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli.options import TrainingOptions, expand_options


@expand_options
def translate_train(
    source: Annotated[str, typer.Argument(help="Folder of source images, e.g. ceT1 crops.")],
    target: Annotated[str, typer.Argument(help="Folder of target images, e.g. hrT2 crops.")],
    run: Annotated[Path, typer.Argument(help="Folder of the run, made new.")],
    options: TrainingOptions,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="cyclegan|cut|fastcut", help="[default: cyclegan]"),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option("--dims", metavar="2|3", help="Slices or slabs. [default: 2]"),
    ] = None,
) -> None:
    """Train a translation network from source to target images; no pairs are needed.

    Example: vsuda translate-train crops/source crops/target runs/cyclegan --method cyclegan
    """
    from vsuda_cli import console
    from vsuda_cli.commands.training import (
        begin,
        digest,
        dry_run,
        load_items,
        resolve_settings,
        train,
    )
    from vsuda_cli.config import TranslationSettings
    from vsuda_cli.io.cases import find_images
    from vsuda_cli.training.cut import Cut
    from vsuda_cli.training.cyclegan import CycleGan
    from vsuda_cli.training.data import Batches, PatchSampler, split
    from vsuda_cli.training.engine import Objective, Validate
    from vsuda_cli.training.precision import choose_device
    from vsuda_cli.training.translation import VALIDATION_METRIC, validation_distance

    settings = resolve_settings(TranslationSettings, options, method=method, dims=dims)
    from_images = [(image, None) for image in find_images(source)]
    to_images = [(image, None) for image in find_images(target)]
    begin(run, options)
    if options.dry_run:
        dry_run(run, settings, options)
        return
    device = choose_device(options.device)

    def make() -> tuple[Objective, Batches, Validate]:
        preprocessing, size = settings.preprocessing, settings.patch_size
        first = load_items("Loading source images", from_images, preprocessing, 1, device)
        second = load_items("Loading target images", to_images, preprocessing, 1, device)
        sources, held_sources = split(first, settings.validation_fraction, settings.seed)
        targets, held_targets = split(second, settings.validation_fraction, settings.seed)
        console.say(f"{len(sources)} source and {len(targets)} target images to train on")
        objective: CycleGan | Cut
        if settings.method == "cyclegan":
            objective = CycleGan(settings, device)
            generator = objective.to_target
        else:
            objective = Cut(settings, device)
            generator = objective.generator
        # Neither turned nor changed in intensity: the networks learn what the scans look like.
        batches = Batches(
            {
                "source": PatchSampler(sources, size, settings.batch_size, None, settings.seed),
                "target": PatchSampler(targets, size, settings.batch_size, None, settings.seed + 1),
            }
        )
        return (
            objective,
            batches,
            lambda: validation_distance(generator, held_sources, held_targets, device),
        )

    train(
        run,
        "translate-train",
        settings,
        options,
        data={"source": digest(from_images), "target": digest(to_images)},
        make=make,
        metric=VALIDATION_METRIC,
        device=device,
    )
