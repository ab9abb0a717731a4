"""Pictures of a folder that a recipe has worked in: what it does, and why a rung helps or not.

    pictures.py chain OUT FILE SOURCE_CROP TARGET_CROP
    pictures.py rungs DATA OUT FILE --rungs NAME...
    pictures.py translated OUT FILE --folders NAME...

`chain` shows a labelled source crop, its pseudo-target image, a target crop, and that crop with the
fused labels; crops are named as in OUT/crops, e.g. crossmoda2021_ldn_3_R. `rungs` shows validation
scans, a row each, and what each rung found there: the reference outlined in white, what was found
in orange (VS) and blue (cochlea). `translated` shows the source's largest tumours and what is made
of them, with the labels' outlines, in folders of pseudo-images in OUT.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.metrics import dice

# Colours that colour-blind readers tell apart (Okabe and Ito).
COLOURS = {1: "#E69F00", 2: "#56B4E9"}
NAMES = {1: "VS", 2: "cochlea"}
# Half the side of what is shown of a scan, in mm.
REACH = 22.0

Volume = nib.spatialimages.SpatialImage
Pixels = NDArray[np.float64]


def load(path: Path) -> Volume:
    """Return a volume with its axes in canonical order."""
    return nib.as_closest_canonical(nib.load(path))


def slice_of(labels: NDArray[np.uint8]) -> int:
    """Return the slice with most of the tumour, or of all structures where there is none."""
    wanted = labels == 1 if (labels == 1).any() else labels > 0
    return int(wanted.sum(axis=(0, 1)).argmax())


def around(labels: NDArray[np.uint8], z: int, spacing: NDArray[np.float64]) -> tuple[slice, slice]:
    """Return the part of a slice (X, Y) around its structures."""
    middle = np.argwhere(labels[:, :, z] > 0).mean(axis=0)
    reach = REACH / spacing[:2]
    low = np.maximum(np.round(middle - reach), 0).astype(int)
    high = np.minimum(np.round(middle + reach), labels.shape[:2]).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1])


def show(axes: plt.Axes, image: Pixels, spacing: NDArray[np.float64], limits: Pixels) -> None:
    """Show a slice (X, Y) in millimetres, front up."""
    aspect = spacing[1] / spacing[0]
    axes.imshow(image.T, cmap="gray", vmin=limits[0], vmax=limits[1], origin="lower", aspect=aspect)
    axes.set_xticks([])
    axes.set_yticks([])


def outline(
    axes: plt.Axes, labels: NDArray[np.uint8], colours: dict[int, str], width: float
) -> None:
    """Draw the outlines of a slice's (X, Y) structures."""
    for value, colour in colours.items():
        if (labels == value).any():
            axes.contour((labels == value).T, [0.5], colors=colour, linewidths=width)


def draw_chain(out: Path, source: str, target: str) -> plt.Figure:
    """Return a figure of a source crop, its pseudo-image, and a target crop, bare and segmented."""
    crops = out / "crops"
    labelled = crops / "source_training" / f"{source}_ceT1.nii.gz"
    label = crops / "source_training" / f"{source}_Label.nii.gz"
    # Of several epochs the last.
    pseudo = sorted((out / "pseudo-2d").glob(f"{source}_e*_hrT2.nii.gz"))[-1]
    unlabelled = crops / "target_validation" / f"{target}_hrT2.nii.gz"
    fused = out / "predictions" / "fused" / f"{target}_Label.nii.gz"
    panels = (
        ("ceT1, labelled", labelled, label, COLOURS),
        ("pseudo-hrT2", pseudo, Path(str(pseudo).replace("hrT2", "Label")), COLOURS),
        ("hrT2, never labelled", unlabelled, fused, {}),
        ("hrT2, segmented", unlabelled, fused, COLOURS),
    )
    figure, row = plt.subplots(1, len(panels), figsize=(9, 2.6), dpi=100)
    for axes, (title, image, labels, colours) in zip(row, panels, strict=True):
        _show_crop(axes, image, labels, colours, 1.5)
        axes.set_title(title, fontsize=9)
    return figure


def draw_rungs(data: Path, out: Path, rungs: list[str], rows: int) -> plt.Figure:
    """Return a figure of what each rung finds in the first validation scans."""
    references = sorted((data / "target_validation_labels").glob("*_Label.nii*"))[:rows]
    figure, grid = _grid(len(references), rungs)
    for row, path in zip(grid, references, strict=True):
        case = path.name.split("_Label")[0]
        scan = load(next((data / "target_validation").glob(f"{case}_*.nii*")))
        image, spacing = scan.get_fdata(), np.asarray(scan.header.get_zooms()[:3])
        wanted = np.asarray(load(path).dataobj)
        z = slice_of(wanted)
        part = around(wanted, z, spacing)
        limits = np.percentile(image[part], (0.5, 99.5))
        for axes, rung in zip(row, rungs, strict=True):
            found = np.asarray(load(out / "final" / rung / path.name).dataobj)
            show(axes, image[:, :, z][part], spacing, limits)
            outline(axes, wanted[:, :, z][part], dict.fromkeys(NAMES, "white"), 0.8)
            outline(axes, found[:, :, z][part], COLOURS, 1.4)
            scores = (f"{n} {dice(found == k, wanted == k):.2f}" for k, n in NAMES.items())
            axes.set_xlabel(", ".join(scores), fontsize=7)
    return figure


def draw_translated(out: Path, folders: list[str], rows: int) -> plt.Figure:
    """Return a figure of the source's largest tumours and of what is made of them."""
    crops = out / "crops" / "source_training"
    sizes = {}
    for path in sorted(crops.glob("*_Label.nii*")):
        sizes[path] = np.count_nonzero(np.asarray(load(path).dataobj) == 1)
    largest = sorted(sizes, key=lambda path: -sizes[path])[:rows]
    figure, grid = _grid(len(largest), ["source", *folders])
    for row, path in zip(grid, largest, strict=True):
        case = path.name.split("_Label")[0]
        for axes, folder in zip(row, [crops, *(out / f for f in folders)], strict=True):
            # Of several epochs the last.
            label = sorted(folder.glob(f"{case}*_Label.nii*"))[-1]
            same = label.name.split("_Label")[0]
            scans = [scan for scan in folder.glob(f"{same}_*.nii*") if "_Label" not in scan.name]
            _show_crop(axes, scans[0], label, COLOURS, 0.8)
    return figure


def _show_crop(
    axes: plt.Axes, image: Path, label: Path, colours: dict[int, str], width: float
) -> None:
    """Show the slice of a crop with most of its first structure, and outlines."""
    volume, labels = load(image), np.asarray(load(label).dataobj)
    array, spacing = volume.get_fdata(), np.asarray(volume.header.get_zooms()[:3])
    z = slice_of(labels)
    show(axes, array[:, :, z], spacing, np.percentile(array, (0.5, 99.5)))
    outline(axes, labels[:, :, z], colours, width)


def _grid(rows: int, titles: list[str]) -> tuple[plt.Figure, NDArray[np.object_]]:
    size = (1.7 * len(titles), 1.85 * rows + 0.2)
    figure, grid = plt.subplots(rows, len(titles), figsize=size, dpi=90, squeeze=False)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    return figure, grid


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    chain, rungs, translated = (kinds.add_parser(k) for k in ("chain", "rungs", "translated"))
    rungs.add_argument("data", type=Path)
    for kind in (chain, rungs, translated):
        kind.add_argument("out", type=Path)
        kind.add_argument("file", type=Path)
    chain.add_argument("source")
    chain.add_argument("target")
    for kind, columns in ((rungs, "--rungs"), (translated, "--folders")):
        kind.add_argument(columns, nargs="+", required=True)
        kind.add_argument("--rows", type=int, default=4)
    words = parser.parse_args()
    if words.kind == "chain":
        figure = draw_chain(words.out, words.source, words.target)
    elif words.kind == "rungs":
        figure = draw_rungs(words.data, words.out, words.rungs, words.rows)
    else:
        figure = draw_translated(words.out, words.folders, words.rows)
    figure.tight_layout(pad=0.3)
    figure.savefig(words.file)


if __name__ == "__main__":
    main()
