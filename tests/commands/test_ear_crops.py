"""The parts of cropping a case that need no registration."""

import numpy as np
import pytest

from vsuda_cli.commands.crop_records import Origin, record_of, write_record
from vsuda_cli.commands.ear_crops import CropSettings, crop_case, crop_outputs, load_atlas
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.registration import Registration
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import load_image, save_image, save_label

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def image():
    return np.random.default_rng(0).random((12, 12, 12), dtype=np.float32)


def test_atlas_corners_enclose_the_region(tmp_path):
    region = np.zeros((12, 12, 12), dtype=np.uint8)
    region[2:5, 3:7, 4:9] = 1
    save_image(tmp_path / "a_ceT1.nii.gz", image(), AFFINE)
    save_label(tmp_path / "a_ROI.nii.gz", region, AFFINE)
    corners = load_atlas(tmp_path / "a_ceT1.nii.gz", tmp_path / "a_ROI.nii.gz").roi_corners_mm
    assert corners.min(axis=0).tolist() == [3, 5, 7]
    assert corners.max(axis=0).tolist() == [9, 13, 17]


@pytest.mark.parametrize("kind", ["empty", "elsewhere"])
def test_an_atlas_that_does_not_fit_is_refused(tmp_path, kind):
    save_image(tmp_path / "a_ceT1.nii.gz", image(), AFFINE)
    region = np.full((12, 12, 12), kind != "empty", dtype=np.uint8)
    save_label(tmp_path / "a_ROI.nii.gz", region, AFFINE * (2 if kind == "elsewhere" else 1))
    with pytest.raises(VsudaError, match=r"no voxel|another grid"):
        load_atlas(tmp_path / "a_ceT1.nii.gz", tmp_path / "a_ROI.nii.gz")


@pytest.mark.parametrize(("first", "last"), [(5, 8), (0, 3)], ids=["ear", "beside it"])
def test_a_slab_thinner_than_the_region_may_show_the_ear(tmp_path, first, last):
    paths = tmp_path / "a_ceT1.nii.gz", tmp_path / "a_ROI.nii.gz"
    region = np.zeros((12, 12, 12), dtype=np.uint8)
    region[2:10, 2:10, 2:12] = 1
    save_image(paths[0], image(), AFFINE)
    save_label(paths[1], region, AFFINE)
    grid = AFFINE.copy()
    grid[2, 3] = AFFINE[2, 2] * first
    case = CaseFile("b", "hrT2", tmp_path / "b_hrT2.nii.gz")
    save_image(case.path, image()[:, :, first:last], grid)
    origin = Origin(load_image(case.path), paths[0], load_atlas(*paths).digest)
    found = {"R": Registration(np.eye(4), 0.1, "start 1")}
    write_record(tmp_path, case, record_of(origin, found, {}))
    settings = CropSettings(*paths, ("R",), None, None, tmp_path / "transforms")
    if first == 5:
        crop_case(case, None, settings, tmp_path / "out")
        assert load_image(tmp_path / "out" / "b_R_hrT2.nii.gz").shape == (8, 8, 10)
    else:
        with pytest.raises(VsudaError, match=r"only 33 % of the region of ear R .*--side"):
            crop_case(case, None, settings, tmp_path / "out")


def test_outputs_are_named_after_case_and_ear(tmp_path):
    case = CaseFile("x_1", "hrT2", tmp_path / "x_1_hrT2.nii.gz")
    names = [path.name for path in crop_outputs(tmp_path, case, ("R", "L"), True)]
    assert names == [
        "x_1_R_hrT2.nii.gz",
        "x_1_R_Label.nii.gz",
        "x_1_L_hrT2.nii.gz",
        "x_1_L_Label.nii.gz",
    ]
