"""The parts of cropping a case that need no registration."""

import weakref

import numpy as np
import pytest

from vsuda_cli.commands import crop_sheets
from vsuda_cli.commands.crop_records import Origin, outliers, record_of, write_record
from vsuda_cli.commands.crop_sheets import write_sheets
from vsuda_cli.commands.ear_crops import CropSettings, crop_case, crop_outputs, load_atlas
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.registration import Registration
from vsuda_cli.io.batch import JobResult
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


def test_sheet_shows_labels_beside_crops(tmp_path):
    save_image(tmp_path / "a_R_hrT2.nii.gz", image(), AFFINE)
    write_sheets(tmp_path / "plain.png", [tmp_path / "a_R_hrT2.nii.gz"])
    save_label(tmp_path / "a_R_Label.nii.gz", image() > 0.5, AFFINE)
    write_sheets(tmp_path / "outlined.png", [tmp_path / "a_R_hrT2.nii.gz"])
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "outlined.png").read_bytes()


def test_many_crops_fill_several_sheets_and_are_loaded_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_sheets, "CROPS_PER_SHEET", 2)
    crops = [tmp_path / f"{case}_R_hrT2.nii.gz" for case in "abc"]
    for path in crops:
        save_image(path, image(), AFFINE)
    pictures = []
    load = crop_sheets.load_image

    def watched(path):
        pictures.append(weakref.ref(volume := load(path)))
        # The one before may still be in a variable; those before that are gone.
        assert all(picture() is None for picture in pictures[:-2])
        return volume

    monkeypatch.setattr(crop_sheets, "load_image", watched)
    write_sheets(tmp_path / "qc.png", crops)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["qc-2.png", "qc.png"]


def test_a_case_far_less_alike_than_the_others_is_named():
    def reached(value):
        return JobResult((), {"sides": {"R": {"similarity": value}}})

    results = {case: reached(0.08) for case in "abcd"}
    assert outliers({}) == []
    assert outliers(results) == []
    results["e"] = reached(0.04)
    assert [line.split(":")[0] for line in outliers(results)] == ["e"]


def test_a_similarity_that_right_ones_hardly_have_is_named_where_all_are_alike():
    sides = {"R": {"similarity": 0.06}, "L": {"similarity": 0.034}}
    lines = outliers({"a": JobResult((), {"sides": sides}), "crop": JobResult((), {"runs": {}})})
    assert lines == ["a: look at side L: similarity 0.034, right ones mostly exceed 0.05"]
