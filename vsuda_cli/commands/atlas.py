"""`vsuda atlas`: make the atlas that `vsuda crop` registers to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vsuda_cli import console
from vsuda_cli.options import OutputOptions, WorkerOptions, expand_options

if TYPE_CHECKING:
    from vsuda_cli.io.cases import CaseFile


@expand_options
def atlas(
    source: Annotated[str, typer.Argument(help="Labelled whole scans; labels beside the images.")],
    out: Annotated[Path, typer.Argument(help="Folder for atlas_<tag>s and atlas_ROI.")],
    options: OutputOptions,
    processes: WorkerOptions,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            help="Folder of label maps, if they are not beside the images.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="DIR", help="Unlabelled scans: an atlas of their contrast too."
        ),
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

    With --target the most typical of those scans becomes an atlas too, on the same grid with the
    same region: scans are found more surely in an atlas of their own contrast. All of them are
    registered for that, and their median decides where it lies.

    Example: vsuda atlas data/source_training atlas --target data/target_training
    """
    from vsuda_cli.commands.atlas_building import build, picture
    from vsuda_cli.commands.target_atlas import build_target
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io import atomic
    from vsuda_cli.io.batch import Job, plan
    from vsuda_cli.io.cases import find_images, labelled_images, output_path, refuse_same_folder
    from vsuda_cli.io.nifti import read_geometry, save_image, save_label

    console.set_up_logging(options.quiet, options.verbose)
    pairs = labelled_images(source, labels)
    images = [image for image, _ in pairs]
    targets = [] if target is None else find_images(target)
    for image, label in pairs:
        read_geometry(image.path)
        read_geometry(label)
    for image in targets:
        read_geometry(image.path)
    tag = _one_tag(source, images)
    image_path, roi_path = output_path(out, "atlas", tag), output_path(out, "atlas", "ROI")
    outputs = [image_path, roi_path]
    if target is not None:
        target_tag = _one_tag(target, targets)
        if target_tag == tag:
            raise VsudaError(target, f"holds {tag} like the source", "leave --target away")
        outputs.append(output_path(out, "atlas", target_tag))
    folders = [folder for folder in (source, labels, target) if folder is not None]
    refuse_same_folder(out, folders, [file.path for file in [*images, *targets]])
    job = Job("atlas", (*outputs, out / "atlas.png"), ())
    to_run, _ = plan([job], force=options.force, skip_existing=options.skip_existing)
    record: dict[str, str] = {}
    if to_run and not options.dry_run:
        atomic.remove_leftovers([out])
        built = build(pairs, sample, margin, processes)
        record["case"] = built.image.case
        placed = None
        if targets:
            placed = build_target(targets, built, sample, processes)
            record["target_case"] = placed[0]
            save_image(outputs[2], placed[1], built.affine)
        save_image(image_path, built.array, built.affine)
        save_label(roi_path, built.region, built.affine)
        atomic.write_bytes(out / "atlas.png", picture(built, placed))
    if options.as_json and to_run:
        written = [str(path) for path in outputs]
        console.emit_json({"written": written, "dry_run": options.dry_run, **record})
    elif to_run:
        for path in outputs:
            console.emit_path(path)


def _one_tag(folder: str | Path, images: "list[CaseFile]") -> str:
    """Return the tag that all images have; raises VsudaError if they are of several kinds."""
    from vsuda_cli.errors import VsudaError
    from vsuda_cli.io.cases import tag_of_all

    tag = tag_of_all(images)
    if tag is None:
        kinds = sorted({image.tag for image in images})
        raise VsudaError(folder, f"holds several kinds of image: {kinds}", "keep one")
    return tag
