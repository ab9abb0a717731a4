"""A picture of the chain from a folder that the recipe has worked in, as at the top of the README.

    python examples/paper/picture.py OUT picture.png SOURCE_CROP TARGET_CROP

From left to right: a labelled source crop, its pseudo-target image, a target crop, and that crop
with the fused labels. Crops are named as in OUT/crops, e.g. crossmoda2021_ldn_3_R.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

# Colours that colour-blind readers tell apart (Okabe and Ito).
COLOURS = {1: "#E69F00", 2: "#56B4E9"}


def load(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return voxels (X, Y, Z) and their size in mm."""
    volume = nib.load(path)
    return np.asarray(volume.dataobj, dtype=np.float64), np.asarray(volume.header.get_zooms()[:3])


def show(axes: plt.Axes, title: str, image: Path, labels: Path, slices: Path, marked: bool) -> None:
    """Show the slice of an image with the most of `slices`' first structure, labels on it."""
    array, spacing = load(image)
    wanted = load(slices)[0]
    slice_ = int((wanted == 1).sum(axis=(0, 1)).argmax() / wanted.shape[2] * array.shape[2])
    low, high = np.percentile(array, (0.5, 99.5))
    extent = (0, array.shape[0] * spacing[0], 0, array.shape[1] * spacing[1])
    shown = {"origin": "lower", "extent": extent}
    axes.imshow(array[:, :, slice_].T, cmap="gray", vmin=low, vmax=high, **shown)
    if marked:
        found = load(labels)[0][:, :, slice_]
        for value, colour in COLOURS.items():
            if (found == value).any():
                mask = (found == value).T
                axes.contour(mask, [0.5], colors=colour, linewidths=1.5, extent=extent)
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("out", "picture"):
        parser.add_argument(name, type=Path)
    parser.add_argument("source")
    parser.add_argument("target")
    words = parser.parse_args()
    crops = words.out / "crops"
    source = crops / "source_training" / words.source
    pseudo = sorted((words.out / "pseudo-2d").glob(f"{words.source}_e*_hrT2.nii.gz"))[-1]
    target = crops / "target_validation" / words.target
    found = words.out / "predictions" / "fused" / f"{words.target}_Label.nii.gz"
    label = Path(f"{source}_Label.nii.gz")
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), dpi=100)
    show(axes[0], "ceT1, labelled", Path(f"{source}_ceT1.nii.gz"), label, label, True)
    show(axes[1], "pseudo-hrT2", pseudo, Path(str(pseudo).replace("hrT2", "Label")), label, True)
    show(axes[2], "hrT2, never labelled", Path(f"{target}_hrT2.nii.gz"), found, found, False)
    show(axes[3], "hrT2, segmented", Path(f"{target}_hrT2.nii.gz"), found, found, True)
    figure.tight_layout()
    figure.savefig(words.picture)


if __name__ == "__main__":
    main()
