"""`vsuda atlas`: make the atlas that `vsuda crop` registers to."""

from pathlib import Path
from typing import Annotated

import typer

from vsuda_cli import console
from vsuda_cli.options import OutputOptions, WorkerOptions, expand_options


@expand_options
def atlas(
    source: Annotated[str, typer.Argument(help="Labelled whole scans; labels beside the images.")],
    out: Annotated[Path, typer.Argument(help="Folder for atlas_<tag> and atlas_ROI.")],
    options: OutputOptions,
    processes: WorkerOptions,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Folder of label maps, if they are not beside the images."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Cases compared pair by pair as atlas.")
    ] = 6,
    margin: Annotated[
        float, typer.Option("--margin", min=0, metavar="MM", help="Room around every ear's labels.")
    ] = 8.0,
) -> None:
    """Choose the most typical labelled scan as atlas, and the box that holds every ear.

    The box holds all right-ear labels and all mirrored left-ear labels, in the atlas' space, with
    a margin. atlas.png shows it.

    Example: vsuda atlas source_training atlas
    """
    from vsuda_cli.commands.atlas_building import build, picture
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io import atomic
    from vsuda_cli.io.batch import Job, JobResult, plan
    from vsuda_cli.io.cases import labelled_images, output_path, refuse_same_folder
    from vsuda_cli.io.nifti import read_geometry, save_image, save_label

    console.set_up_logging(options.quiet, options.verbose)
    pairs = labelled_images(source, labels)
    for image, label in pairs:
        read_geometry(image.path)
        read_geometry(label)
    tags = {image.tag for image, _ in pairs}
    if len(tags) > 1:
        raise VsudaError(source, f"holds several kinds of image: {sorted(tags)}", "keep one")
    refuse_same_folder(out, [source, *([] if labels is None else [labels])])
    image_path, roi_path = output_path(out, "atlas", tags.pop()), output_path(out, "atlas", "ROI")
    job = Job("atlas", (image_path, roi_path, out / "atlas.png"), ())
    to_run, _ = plan([job], force=options.force, skip_existing=options.skip_existing)
    result = JobResult(job.outputs[:2])
    if to_run and not options.dry_run:
        atomic.remove_leftovers([out])
        built = build(pairs, sample, margin, processes.workers, processes.dask)
        save_image(image_path, built.array, built.affine)
        save_label(roi_path, built.region, built.affine)
        atomic.write_bytes(out / "atlas.png", picture(built))
        result = JobResult(result.written, {"case": built.case})
    if options.as_json and to_run:
        written = [str(path) for path in result.written]
        console.emit_json({"written": written, "dry_run": options.dry_run, **result.record})
    elif to_run:
        for path in result.written:
            console.emit_path(path)
