"""The ladder's table and pictures, as its recipe calls them."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

RECIPE = Path(__file__).parents[1] / "examples" / "realheads"
SCRIPT = RECIPE / "ladder.py"
RUNGS = {"source-only": (0.1, 0.2), "halfway": (0.5, 0.3), "upper-bound": (0.9, 0.8)}


def test_rungs_stand_between_source_only_and_upper_bound(tmp_path: Path) -> None:
    for name, (tumour, cochlea) in RUNGS.items():
        # The structure that case b lacks has no distance.
        rows = [f"a,{tumour},2,{cochlea},1", f"b,{tumour},,{cochlea},3"]
        head = "case,VS_Dice,VS_ASSD,cochlea_Dice,cochlea_ASSD"
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")
    outputs = ["--markdown", tmp_path / "ladder.md", "--json", tmp_path / "ladder.json"]
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, "--rungs", *RUNGS, *outputs],
        capture_output=True,
        text=True,
        check=True,
    )
    table = json.loads((tmp_path / "ladder.json").read_text())
    assert [round(rung["VS_gap"], 6) for rung in table.values()] == [0, 0.5, 1]
    assert round(table["halfway"]["cochlea_gap"], 6) == round(0.1 / 0.6, 6)
    assert table["halfway"]["VS_ASSD"] == [2.0, 0.0]
    assert table["halfway"]["cochlea_ASSD"] == [2.0, 2**0.5]
    assert done.stdout == (tmp_path / "ladder.md").read_text()
    assert "| halfway | 0.500 ± 0.000 |" in done.stdout


@pytest.mark.parametrize(
    ("source", "target", "tumour"), [("ceT1", "hrT2", "[0.35,0.8]"), ("hrT2", "ceT1", "[0.7,1.0]")]
)
def test_the_files_say_which_contrast_is_to_be_segmented(
    tmp_path: Path, source: str, target: str, tumour: str
) -> None:
    scan = tmp_path / "target_training" / f"a_{target}.nii.gz"
    scan.parent.mkdir()
    scan.touch()
    where = [f"DATA={tmp_path}", f"OUT={tmp_path / 'out'}", "VSUDA=vsuda"]
    done = subprocess.run(
        ["make", "-n", "-f", RECIPE / "Makefile", *where, "adapt"],
        capture_output=True,
        text=True,
        check=True,
    )
    crops = [line for line in done.stdout.splitlines() if line.startswith("vsuda crop ")]
    for line in crops:
        tag = source if "source_training" in line else target
        assert f"/atlas/atlas_{tag}.nii.gz" in line
    assert len(crops) == 3
    assert f"--set structure_ranges=[{tumour}," in done.stdout
    exported = [line for line in done.stdout.splitlines() if "translate-export" in line]
    assert len(exported) == 3
    assert all(line.endswith(f"--tag {target}") for line in exported)


def test_a_target_of_another_tag_is_taken_for_t2(tmp_path: Path) -> None:
    where = [f"DATA={tmp_path}", f"OUT={tmp_path / 'out'}", "VSUDA=vsuda", "TARGET_TAG=T2w"]
    done = subprocess.run(
        ["make", "-n", "-f", RECIPE / "Makefile", *where, "adapt"],
        capture_output=True,
        text=True,
        check=True,
    )
    for ranges in ("[[0.35,0.8],[0.75,1.0]]", "[[0.3,0.7],[0.75,1.0]]"):
        assert f"--set structure_ranges={ranges}" in done.stdout
    assert "/runs/curve --method curve" in done.stdout


def save(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag((1.0, 1.0, 1.5, 1.0))), path)


def orange(picture: Path, columns: int) -> list[int]:
    """Return how many pixels of each column of panels are as orange as a tumour's outline."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    like = np.abs(pixels - (0xE6, 0x9F, 0x00)).max(axis=2) < 40
    return [int(part.sum()) for part in np.array_split(like, columns, axis=1)]


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
    subprocess.run([sys.executable, RECIPE / "pictures.py", *words], check=True)
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
    subprocess.run([sys.executable, RECIPE / "pictures.py", *words], check=True)
    assert min(orange(file, 2)) > 0
