"""Every kind of damage is found, and sound folders have no findings."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vsuda_cli.errors import VsudaError
from vsuda_cli.io.inspection import ERROR, WARNING, inspect_file, inspect_folder, nifti_files
from vsuda_cli.io.nifti import save_image, save_label

AFFINE = np.diag([0.5, 0.5, 1.5, 1.0])
SHAPE = (6, 5, 4)


def image(seed=0):
    return np.random.default_rng(seed).random(SHAPE, dtype=np.float32)


def label():
    return (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3).astype(np.uint8)


def problems(path: Path, severity: str, class_count=3) -> str:
    found = inspect_file(path, class_count).findings
    return " | ".join(one.problem for one in found if one.severity == severity)


def look(folder: Path):
    return inspect_folder({path: inspect_file(path, 3) for path in nifti_files(folder)})


def test_a_sound_folder_has_no_findings(tmp_path):
    save_image(tmp_path / "a_ceT1.nii.gz", image(), AFFINE)
    save_label(tmp_path / "a_Label.nii.gz", label(), AFFINE)
    for path in nifti_files(tmp_path):
        assert inspect_file(path, 3).findings == ()
    assert look(tmp_path) == []


def test_damaged_files(tmp_path):
    whole = tmp_path / "a_ceT1.nii.gz"
    save_image(whole, image(), AFFINE)
    cut = tmp_path / "b_ceT1.nii.gz"
    cut.write_bytes(whole.read_bytes()[:-40])
    empty = tmp_path / "c_ceT1.nii"
    empty.write_bytes(b"")
    (tmp_path / "d_ceT1.nii.gz").mkdir()
    for path in (cut, empty, tmp_path / "d_ceT1.nii.gz"):
        assert problems(path, ERROR)


def test_values(tmp_path):
    holed = image()
    holed[0, 0, 0] = np.nan
    nib.Nifti1Image(holed, AFFINE).to_filename(tmp_path / "a_ceT1.nii.gz")
    assert "NaN" in problems(tmp_path / "a_ceT1.nii.gz", ERROR)
    nib.Nifti1Image(label() + np.float32(0.4), AFFINE).to_filename(tmp_path / "a_Label.nii.gz")
    assert "whole numbers" in problems(tmp_path / "a_Label.nii.gz", ERROR)
    save_label(tmp_path / "b_Label.nii.gz", label(), AFFINE)
    assert "label 2" in problems(tmp_path / "b_Label.nii.gz", ERROR, class_count=2)
    save_image(tmp_path / "c_ceT1.nii.gz", np.full(SHAPE, 7.0), AFFINE)
    assert "constant image" in problems(tmp_path / "c_ceT1.nii.gz", WARNING)
    save_image(tmp_path / "d_ceT1.nii.gz", image() - 1, AFFINE)
    assert not problems(tmp_path / "d_ceT1.nii.gz", WARNING)


def test_geometry(tmp_path):
    both = nib.Nifti1Image(image(), AFFINE)
    both.set_sform(AFFINE, 1)
    moved = AFFINE.copy()
    moved[0, 3] = 67
    both.set_qform(moved, 1)
    both.to_filename(tmp_path / "a_ceT1.nii.gz")
    assert "67.0 mm apart" in problems(tmp_path / "a_ceT1.nii.gz", WARNING)
    turned = nib.Nifti1Image(np.zeros((40, 40, 4), np.uint8), np.diag((0.5, 0.5, 1, 1)))
    turned.set_qform(turned.affine, 1)
    turned.set_sform(turned.affine[[1, 0, 2, 3]], 1)
    turned.to_filename(tmp_path / "t_ceT1.nii.gz")
    # Two of its corners stay in place.
    assert "27.6 mm apart" in problems(tmp_path / "t_ceT1.nii.gz", WARNING)
    neither = nib.Nifti1Image(image(), AFFINE)
    neither.set_sform(None, 0)
    neither.set_qform(None, 0)
    neither.to_filename(tmp_path / "b_ceT1.nii.gz")
    assert "neither" in problems(tmp_path / "b_ceT1.nii.gz", ERROR)
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.1
    nib.Nifti1Image(image(), sheared).to_filename(tmp_path / "c_ceT1.nii.gz")
    assert "shear" in problems(tmp_path / "c_ceT1.nii.gz", ERROR)
    nib.Nifti1Image(image()[..., None], AFFINE).to_filename(tmp_path / "d_ceT1.nii.gz")
    assert "idle axes" in problems(tmp_path / "d_ceT1.nii.gz", WARNING)


def test_a_qform_that_is_no_rotation_is_told(tmp_path):
    broken = nib.Nifti1Image(image(), AFFINE)
    broken.set_sform(AFFINE, 1)
    broken.set_qform(AFFINE, 1)
    broken.header["quatern_b"] = 1.2
    broken.to_filename(tmp_path / "a_ceT1.nii.gz")
    assert "qform that is no rotation" in problems(tmp_path / "a_ceT1.nii.gz", WARNING)
    assert problems(tmp_path / "a_ceT1.nii.gz", ERROR) == ""


@pytest.mark.parametrize("case", ["a", "a.b"])
def test_a_scaled_label_map_is_told(tmp_path, case):
    scaled = nib.Nifti1Image(label().astype(np.int16), AFFINE)
    scaled.header.set_slope_inter(1 / 2, 0)
    path = tmp_path / f"{case}_Label.nii.gz"
    scaled.to_filename(path)
    assert "scale factor" in problems(path, WARNING)


def test_folder_duplicates_and_partners(tmp_path):
    save_image(tmp_path / "a_ceT1.nii.gz", image(), AFFINE)
    save_image(tmp_path / "a_ceT1.nii", image(), AFFINE)
    save_label(tmp_path / "a_Label.nii.gz", label(), AFFINE)
    save_image(tmp_path / "b_ceT1.nii.gz", image(1), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 1
    save_image(tmp_path / "c_ceT1.nii.gz", image(2), AFFINE)
    save_label(tmp_path / "c_Label.nii.gz", label(), moved)
    save_label(tmp_path / "d_Label.nii.gz", label(), AFFINE)
    save_image(tmp_path / "unnamed.nii.gz", image(3), AFFINE)
    told = {(one.severity, one.path.name, one.problem) for one in look(tmp_path)}
    assert (ERROR, "a_ceT1.nii.gz", "is a second image of case a beside a_ceT1.nii") in told
    assert (WARNING, "a_ceT1.nii.gz", "holds the same voxels as a_ceT1.nii") in told
    assert (WARNING, "b_ceT1.nii.gz", "has no label map beside it, as others have") in told
    assert (ERROR, "c_Label.nii.gz", "is on another grid than c_ceT1.nii.gz") in told
    assert (WARNING, "d_Label.nii.gz", "has no image beside it") in told
    assert "is not named" in problems(tmp_path / "unnamed.nii.gz", WARNING)


def test_axes_that_run_otherwise_than_most(tmp_path):
    turned = AFFINE @ np.diag([-1, 1, 1, 1])
    for number, affine in enumerate((AFFINE, AFFINE, turned)):
        save_image(tmp_path / f"{number}_ceT1.nii.gz", image(number), affine)
        save_image(tmp_path / f"c{number}_{'RRL'[number]}_ceT1.nii.gz", image(number + 3), affine)
    (found,) = look(tmp_path)
    assert (found.severity, found.path.name) == (WARNING, "2_ceT1.nii.gz")
    assert found.problem == "is stored along LAS, most images here along RAS"


def test_no_folder_and_an_empty_one_are_refused(tmp_path):
    with pytest.raises(VsudaError, match="no NIfTI"):
        nifti_files(tmp_path)
    with pytest.raises(VsudaError, match="no folder"):
        nifti_files(tmp_path / "missing")


def test_a_folder_without_files_says_what_it_holds(tmp_path):
    (tmp_path / "source_training").mkdir()
    with pytest.raises(VsudaError, match=r"holds no NIfTI files; .* one of them: source_training"):
        nifti_files(tmp_path)
