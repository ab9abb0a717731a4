"""Failure cases of files (1 to 14), of outputs and machines (15 to 23), of results (24 to 26).

What is tested in the module of the code itself is only named here; whole commands are run below.

| case | test |
|---|---|
| 1 truncated .nii.gz | test_crop_refuses_half_a_scan; test_compression: truncation, checksum |
| 2 truncated .nii, empty, foreign, folder | test_nifti: truncated, no NIfTI at all |
| 3 impossible size, gzip bomb | test_header: too much, memory; test_compression: goes on |
| 4 sform against qform | test_the_sform_decides_where_the_ears_are; test_inspection: geometry |
| 5 no form, shear, NaN, no spacing | test_header: forms, pixel size, unusable affine |
| 6 4D | test_nifti: last axis of one, true 4D |
| 7 scale factors, unknown labels | test_nifti: scale factor, range; test_check: unknown labels |
| 8 NaN and Inf voxels | test_nifti: no numbers; test_repair: replaced and counted |
| 9 constant image | test_preprocessing; test_registration: no head; test_inspection: values |
| 10 orders of axes | test_crop: both orders; test_postprocess: any scan gets its labels back |
| 11 affines nearly alike | test_nifti: grids are compared; test_crop_refuses_a_label_elsewhere |
| 12 partners, duplicates, no case | test_cases; test_inspection: duplicates and partners |
| 13 strange names | test_strange_names_pass_through; test_page: names are escaped |
| 14 thin slabs, ROI over the edge | test_registration: slab; test_postprocess: any scan |
| 15 SIGKILL | test_killed_commands; test_atomic: leftovers |
| 16 disk full, read-only | test_failing_machines: full disk, read-only |
| 17 output is input, links | test_cases: output folder; test_failing_machines: links |
| 18 racing processes | test_failing_machines: shards and twins |
| 20 pickles, foreign checkpoints | test_checkpoint: code, foreign, truncated, another kind |
| 21 dying worker | test_workers: killed; test_cluster: killed, every worker |
| 22 closed stdout | test_failing_machines: head |
| 23 failing registration | test_registration: no head, implausible; test_crop: others go on |
| 24 empty masks | test_metrics: conventions; test_evaluate: independent scorer |
| 25 bad probabilities | test_fusion: no probability; test_fuse: bad probabilities |
| 26 absent class, background, one model | test_results_of_nothing_are_scored; test_fuse |
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from synthetic_head import RIGHT_MM, head

from vsuda_cli.commands.cleaning import clean_case
from vsuda_cli.commands.ear_crops import CropSettings, crop_case
from vsuda_cli.commands.scoring import Measures, find_pairs, score_case
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.components import Rules
from vsuda_cli.io.cases import find_images, find_labels, output_path
from vsuda_cli.io.nifti import load_image, load_label, save_image, save_label

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> CropSettings:
    folder = tmp_path_factory.mktemp("atlas")
    image, label, affine = head("T1")
    save_image(folder / "atlas_ceT1.nii.gz", image, affine)
    where = np.round(np.linalg.solve(affine, np.append(RIGHT_MM, 1)))[:3].astype(int)
    region = np.zeros_like(label)
    region[tuple(slice(i - 6, i + 7) for i in where)] = 1
    save_label(folder / "atlas_ROI.nii.gz", region, affine)
    return CropSettings(
        folder / "atlas_ceT1.nii.gz", folder / "atlas_ROI.nii.gz", ("R",), None, None
    )


def test_crop_refuses_half_a_scan(atlas: CropSettings, tmp_path: Path) -> None:
    image, _, affine = head("T2")
    path = tmp_path / "scans" / "a_hrT2.nii.gz"
    save_image(path, image, affine)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VsudaError, match=r"a_hrT2\.nii\.gz: is truncated or damaged"):
        crop_case(find_images(path.parent)[0], None, atlas, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_sform_decides_where_the_ears_are(atlas: CropSettings, tmp_path: Path) -> None:
    voxels, _, affine = head("T2")
    for name, apart_mm in (("same", 0.0), ("apart", 67.0)):
        image = nib.Nifti1Image(voxels, affine)
        moved = affine.copy()
        moved[:3, 3] += apart_mm
        image.set_sform(affine, 1)
        image.set_qform(moved, 1)
        (tmp_path / name).mkdir()
        image.to_filename(tmp_path / name / "a_hrT2.nii.gz")
        crop_case(find_images(tmp_path / name)[0], None, atlas, tmp_path / f"{name}-out")
    one, other = (load_image(tmp_path / f"{n}-out" / "a_R_hrT2.nii.gz") for n in ("same", "apart"))
    assert np.array_equal(one.array, other.array)
    assert np.array_equal(one.affine, other.affine)
    centre = one.affine @ np.append((np.array(one.shape) - 1) / 2, 1)
    assert np.linalg.norm(centre[:3] - RIGHT_MM) < 8


def test_crop_refuses_a_label_elsewhere(atlas: CropSettings, tmp_path: Path) -> None:
    image, label, affine = head("T2")
    save_image(tmp_path / "a_hrT2.nii.gz", image, affine)
    moved = affine.copy()
    moved[0, 3] += 1
    save_label(tmp_path / "a_Label.nii.gz", label, moved)
    with pytest.raises(VsudaError, match="is on another grid than"):
        crop_case(find_images(tmp_path)[0], tmp_path / "a_Label.nii.gz", atlas, tmp_path / "out")


@pytest.mark.parametrize(
    "case", ["two words", "line\nbreak", "-leading", "$(touch owned)", "<script>x", "Hörnerv", "例"]
)
def test_strange_names_pass_through(tmp_path: Path, case: str) -> None:
    # A slash is all that no name can hold.
    save_label(tmp_path / "in" / f"{case}_Label.nii.gz", np.ones((4, 4, 4)), AFFINE)
    (file,) = find_labels(tmp_path / "in")
    assert file.case == case
    path = output_path(tmp_path / "out", file.case, "Label")
    rules = Rules(("VS", "cochlea"), max_above_mm=None)
    clean_case([file], None, (path,), rules, one_sided=False, snap=False, cysts=False)
    assert load_label(path).array.all()
    assert [found.name for found in (tmp_path / "out").iterdir()] == [f"{case}_Label.nii.gz"]


def test_results_of_nothing_are_scored(tmp_path: Path) -> None:
    # All background against a class that is there and one that is absent everywhere.
    reference = np.zeros((6, 6, 6), np.uint8)
    reference[2:4, 2:4, 2:4] = 1
    save_label(tmp_path / "truth" / "a_Label.nii.gz", reference, AFFINE)
    save_label(tmp_path / "found" / "a_Label.nii.gz", np.zeros_like(reference), AFFINE)
    (pair,) = find_pairs(str(tmp_path / "found"), str(tmp_path / "truth"), None)
    scores = score_case(pair, Measures(("VS", "cochlea")), False).record["scores"]
    assert (scores["VS_Dice"], scores["VS_ASSD"]) == (0, 350)
    assert scores["cochlea_Dice"] == 1
    assert scores["cochlea_ASSD"] is None
