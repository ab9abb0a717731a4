"""Pictures of a folder that a recipe has worked in, as the recipes call them."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "examples" / "pictures.py"


def save(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag((1.0, 1.0, 1.5, 1.0))), path)


def orange(picture: Path, columns: int) -> list[int]:
    """Return how many pixels of each column of panels are as orange as a tumour's outline."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    like = np.abs(pixels - (0xE6, 0x9F, 0x00)).max(axis=2) < 40
    return [int(part.sum()) for part in np.array_split(like, columns, axis=1)]


def test_pictures_show_the_chain_from_labelled_source_to_segmented_target(tmp_path: Path) -> None:
    label = np.zeros((40, 40, 6), np.uint8)
    label[10:20, 10:20, 1:5] = 1
    crops = tmp_path / "crops"
    for folder, case, tag in (
        (crops / "source_training", "a_R", "ceT1"),
        (tmp_path / "pseudo-2d", "a_R_e010", "hrT2"),
        (crops / "target_validation", "b_R", "hrT2"),
    ):
        save(folder / f"{case}_{tag}.nii.gz", label * 200)
        save(folder / f"{case}_Label.nii.gz", label)
    save(tmp_path / "predictions" / "fused" / "b_R_Label.nii.gz", label)
    file = tmp_path / "chain.png"
    subprocess.run([sys.executable, SCRIPT, "chain", tmp_path, file, "a_R", "b_R"], check=True)
    source, pseudo, unlabelled, segmented = orange(file, 4)
    assert unlabelled == 0 < min(source, pseudo, segmented)


def test_pictures_show_what_each_rung_found(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    wanted = np.zeros((40, 40, 6), np.uint8)
    wanted[10:20, 10:20, 1:5], wanted[25:28, 25:28, 2:4] = 1, 2
    for case in ("a", "b"):
        save(data / "target_validation" / f"{case}_hrT2.nii.gz", wanted * 80)
        save(data / "target_validation_labels" / f"{case}_Label.nii.gz", wanted)
        save(out / "final" / "blind" / f"{case}_Label.nii.gz", np.zeros_like(wanted))
        save(out / "final" / "perfect" / f"{case}_Label.nii.gz", wanted)
    file = tmp_path / "rungs.png"
    words = ["rungs", data, out, file, "--rungs", "blind", "perfect"]
    subprocess.run([sys.executable, SCRIPT, *words], check=True)
    blind, perfect = orange(file, 2)
    assert blind == 0 < perfect


def test_pictures_show_pseudo_images_with_their_own_labels(tmp_path: Path) -> None:
    small, large = np.zeros((2, 40, 40, 6), np.uint8)
    small[10:12, 10:12, 3], large[10:20, 10:20, 1:5] = 1, 1
    for case, label in (("a", small), ("b", large)):
        save(tmp_path / "crops" / "source_training" / f"{case}_ceT1.nii.gz", label * 200)
        save(tmp_path / "crops" / "source_training" / f"{case}_Label.nii.gz", label)
    # On another grid, at two epochs.
    for epoch in ("e008", "e010"):
        save(tmp_path / "pseudo" / f"b_{epoch}_hrT2.nii.gz", large[::2, ::2] * 200)
        save(tmp_path / "pseudo" / f"b_{epoch}_Label.nii.gz", large[::2, ::2])
    file = tmp_path / "translated.png"
    words = ["translated", tmp_path, file, "--folders", "pseudo", "--rows", "1"]
    subprocess.run([sys.executable, SCRIPT, *words], check=True)
    assert min(orange(file, 2)) > 0
