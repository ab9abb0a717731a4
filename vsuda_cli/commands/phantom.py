"""`vsuda phantom`: make up heads to try everything on, in crossMoDA's layout."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli import console
from vsuda_cli.options import BatchOptions, expand_options

if TYPE_CHECKING:
    from vsuda_cli.io.batch import JobResult

# Folder, folder of labels, and the first case's number, as crossMoDA 2021 counts.
SPLITS = (
    ("source_training", "source_training", 1),
    ("target_training", "target_training_labels", 106),
    ("target_validation", "target_validation_labels", 211),
)


@expand_options
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for the data set.")],
    options: BatchOptions,
    source: Annotated[int, typer.Option("--source", min=1, help="Labelled heads.")] = 8,
    target: Annotated[int, typer.Option("--target", min=1, help="Heads to adapt to.")] = 8,
    validation: Annotated[int, typer.Option("--validation", min=1, help="Heads to score on.")] = 4,
    size: Annotated[
        str, typer.Option("--size", metavar="tiny|roi|full", help="Voxel and field size.")
    ] = "tiny",
    structures: Annotated[
        str | None,
        typer.Option(
            "--structures",
            metavar="VS|cochlea|labyrinth|nerve,...",
            help="What is labelled 1, 2, ...",
            show_default="VS,cochlea",
        ),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Labelled hrT2 heads, and ceT1 heads to adapt to.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = 0,
) -> None:
    """Make up heads with tumours and inner ears, to try everything on.

    Labelled heads are ceT1 scans, those to adapt to and to score on hrT2 scans. Labels of both
    target sets are written to folders of their own, for scoring and for an upper bound. The same
    seed gives the same bytes, whatever the number of workers.

    Example: vsuda phantom data --size tiny
    """
    from vsuda_cli.commands.running import finish, run_cases
    from vsuda_cli.commands.structures import parse_classes
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.images.phantom_anatomy import STRUCTURES
    from vsuda_cli.images.phantom_scan import CONTRASTS, SIZES
    from vsuda_cli.io.batch import Job
    from vsuda_cli.io.cases import output_path

    console.set_up_logging(options.quiet, options.verbose)
    if size not in SIZES:
        raise VsudaError(f"--size {size}", "is unknown", f"use one of {', '.join(SIZES)}")
    names = parse_classes(structures, "--structures")
    for name in names:
        if name not in STRUCTURES:
            problem = f"holds {name}, which is unknown"
            raise VsudaError("--structures", problem, f"choose of {', '.join(STRUCTURES)}")
    labelled, other = CONTRASTS[::-1] if mirrored else CONTRASTS
    jobs = []
    following = 1
    for number, (count, split) in enumerate(zip((source, target, validation), SPLITS, strict=True)):
        folder, labels, first = split
        tag = labelled if number == 0 else other
        # More cases than crossMoDA has push the later splits' numbers on: no two cases share one.
        first = max(first, following)
        following = first + count
        for index in range(count):
            case = f"crossmoda2021_ldn_{first + index}"
            outputs = (
                output_path(out / folder, case, tag),
                output_path(out / labels, case, "Label"),
            )
            jobs.append(Job(case, outputs, (size, outputs, tag, (seed, number, index), names)))
    atlas = (
        output_path(out / "atlas", "atlas", "ceT1"),
        output_path(out / "atlas", "atlas", "ROI"),
    )
    jobs.append(Job("atlas", atlas, (size, atlas)))
    finish(run_cases("Making heads", jobs, make_case, options))


def make_case(
    size: str,
    outputs: tuple[Path, ...],
    contrast: str = "",
    seed: tuple[int, ...] = (),
    structures: tuple[str, ...] = (),
) -> "JobResult":
    """Write one made-up scan and its label map; without a contrast the atlas and its box."""
    import numpy as np

    from vsuda_cli.images.phantom_scan import SIZES, make_atlas, make_scan
    from vsuda_cli.io.batch import JobResult
    from vsuda_cli.io.nifti import save_image, save_label

    if contrast:
        made = make_scan(SIZES[size], contrast, np.random.default_rng(seed), structures)
    else:
        made = make_atlas(SIZES[size])
    save_image(outputs[0], made.image, made.affine)
    save_label(outputs[1], made.label, made.affine)
    return JobResult(outputs)
