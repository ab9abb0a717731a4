"""`crop` finds both ears, cuts no label, and its crops go back where they came from."""

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer
from command_line import vsuda
from odd_headers import write_with_header
from synthetic_head import LEFT_MM, RIGHT_MM, TUMOUR_MM, ball, head
from typer.testing import CliRunner

from vsuda_cli.commands.atlas import atlas
from vsuda_cli.commands.crop import crop
from vsuda_cli.commands.ear_crops import load_atlas
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.cropping import place_back, world_points
from vsuda_cli.images.geometry import translation
from vsuda_cli.images.resampling import resample_to_grid
from vsuda_cli.io.cases import find_images
from vsuda_cli.io.nifti import load_image, load_label, save_image, save_label

REALHEADS = Path(__file__).parents[3] / "shared" / "realheads"
SHIFT_MM = np.array([5.0, -6.0, 4.0])


def lps(array, affine):
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(array.shape[:2]) - 1
    return np.ascontiguousarray(array[::-1, ::-1]), affine @ flip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    image, _, affine = head("T1")
    save_image(folder / "atlas" / "atlas_ceT1.nii.gz", image, affine)
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    where = index @ affine[:3, :3].T + affine[:3, 3]
    box = (np.abs(where - (RIGHT_MM + TUMOUR_MM) / 2) < (22, 18, 18)).all(axis=-1)
    save_label(folder / "atlas" / "atlas_ROI.nii.gz", box, affine)
    image, label, affine = head("T2", translation(SHIFT_MM), seed=1)
    for case, (voxels, labels, grid) in {
        "a_1": (image, label, affine),
        "b": (lps(image, affine)[0], lps(label, affine)[0], lps(image, affine)[1]),
    }.items():
        save_image(folder / "scans" / f"{case}_hrT2.nii.gz", voxels, grid)
        save_label(folder / "labels" / f"{case}_Label.nii.gz", labels, grid)
    return folder


@pytest.fixture(scope="module")
def run(data):
    app = typer.Typer()
    app.command()(crop)
    atlas = data / "atlas"
    common = ["--atlas", atlas / "atlas_ceT1.nii.gz", "--roi", atlas / "atlas_ROI.nii.gz"]

    def call(*words, raises=False):
        result = CliRunner().invoke(app, [str(word) for word in [*words, *common]])
        if result.exception and not isinstance(result.exception, SystemExit):
            if raises:
                raise result.exception
            raise AssertionError(result.output) from result.exception
        return result

    return call


@pytest.fixture(scope="module")
def crops(data, run):
    out = data / "crops"
    result = run(data / "scans", out, "--labels", data / "labels", "--json")
    assert result.exit_code == 0
    return out, [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("image", "region", "problem"),
    [
        (np.ones((4, 4, 4)), np.ones((4, 4, 4)), "atlas_ceT1.nii.gz: is a constant image"),
        (np.arange(64).reshape(4, 4, 4), np.zeros((4, 4, 4)), "atlas_ROI.nii.gz: marks no voxel"),
        (np.arange(64).reshape(4, 4, 4), np.ones((4, 4, 5)), "ROI.nii.gz: is on another grid"),
    ],
)
def test_an_atlas_that_shows_or_marks_nothing_is_refused(tmp_path, image, region, problem):
    paths = tmp_path / "atlas_ceT1.nii.gz", tmp_path / "atlas_ROI.nii.gz"
    save_image(paths[0], image.astype(np.float32), np.eye(4))
    save_label(paths[1], region.astype(np.uint8), np.eye(4))
    with pytest.raises(VsudaError, match=problem):
        load_atlas(*paths)


def test_quiet_holds_from_the_atlas_on(tmp_path, caplog):
    """nibabel warns about a negative pixel size."""

    def flip(header):
        header["pixdim"][1] = -0.5

    atlas = write_with_header(tmp_path / "atlas_ceT1.nii.gz", flip)
    save_image(tmp_path / "scans" / "a_hrT2.nii.gz", np.ones((4, 4, 4)), np.eye(4))
    words = ["crop", tmp_path / "scans", tmp_path / "out", "--atlas", atlas, "--roi", atlas]
    assert "is a constant image" in vsuda(*words, "-q").err
    assert not caplog.records


def test_no_labelled_voxel_is_cut(crops):
    _, records = crops
    assert [one["case"] for one in records] == ["a_1", "b"]
    for one in records:
        assert {side: found["cut_label_voxels"] for side, found in one["sides"].items()} == {
            "R": 0,
            "L": 0,
        }


def test_a_rerun_writes_the_sheet_that_a_killed_run_did_not_and_else_leaves_it(crops, data, run):
    out, _ = crops
    sheet = out / "qc.png"
    expected = sheet.read_bytes()
    sheet.unlink()
    again = (data / "scans", out, "--labels", data / "labels", "--skip-existing")
    run(*again)
    assert sheet.read_bytes() == expected
    written = sheet.stat()
    run(*again)
    assert sheet.stat().st_ino == written.st_ino
    os.utime(sheet, ns=(0, 0))
    run(*again)
    assert sheet.stat().st_mtime_ns > 0


def test_later_commands_see_the_crops_alone(crops):
    out, _ = crops
    assert [file.case for file in find_images(out)] == ["a_1_L", "a_1_R", "b_L", "b_R"]
    assert (out / "qc.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "transforms" / "a_1.json").read_text())
    assert np.linalg.det(np.array(record["sides"]["L"]["scan_to_atlas_ras_mm"])) < 0


def test_crops_are_true_in_the_world_and_left_ones_mirrored(crops):
    out, _ = crops
    for side, ear in (("R", RIGHT_MM), ("L", LEFT_MM)):
        label = load_label(out / f"b_{side}_Label.nii.gz")
        assert (np.linalg.det(label.affine[:3, :3]) > 0) == (side == "R")
        cochlea = world_points(label.array == 2, label.affine)
        assert np.linalg.norm(cochlea.mean(axis=0) - (ear + SHIFT_MM)) < 3
        # Shown as a right ear: the cochlea's outer side is at the end of the first axis.
        assert np.argwhere(label.array == 2)[:, 0].mean() > label.shape[0] / 2 - 2


def test_both_orders_of_axes_give_the_same_crop(crops):
    out, _ = crops
    one, other = (load_image(out / f"{case}_R_hrT2.nii.gz") for case in ("a_1", "b"))
    assert np.allclose(one.affine, other.affine, atol=1e-3)
    assert np.array_equal(one.array, other.array)


def test_crops_put_back_are_the_scan(crops, data):
    out, _ = crops
    for case in ("a_1", "b"):
        scan = load_label(data / "labels" / f"{case}_Label.nii.gz")
        back = None
        for side in "RL":
            label = load_label(out / f"{case}_{side}_Label.nii.gz")
            back = place_back(label.array, label.affine, scan.shape, scan.affine, back)
        assert np.array_equal(back, scan.array)


def test_second_run_changes_no_byte_and_existing_output_is_refused(crops, data, run):
    out, _ = crops
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(VsudaError, match="exists already"):
        run(data / "scans", out, raises=True)
    result = run(data / "scans", out, "--labels", data / "labels", "--force", "--workers", 2)
    assert len(result.stdout.splitlines()) == 8
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_size_spacing_and_one_side(data, run):
    out = data / "fixed"
    scan = data / "scans" / "a_1_hrT2.nii.gz"
    run(scan, out, "--size", "20,24,16", "--spacing", "1.5,1.5,2", "--side", "left")
    assert [file.case for file in find_images(out)] == ["a_1_L"]
    volume = load_image(out / "a_1_L_hrT2.nii.gz")
    assert volume.shape == (20, 24, 16)
    assert np.allclose(volume.spacing_mm, (1.5, 1.5, 2))
    centre = volume.affine @ np.append((np.array(volume.shape) - 1) / 2, 1)
    assert ball(centre[:3], LEFT_MM + SHIFT_MM, (20, 20, 20))


def test_transforms_of_an_earlier_call_cut_the_same_in_its_place(
    crops, data, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "vsuda_cli.commands.ear_crops.register_right", lambda *words: pytest.fail("registered")
    )
    folder, _ = crops
    words = ["--labels", data / "labels", "--transforms", folder / "transforms"]
    assert run(data / "scans", tmp_path / "again", *words).exit_code == 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(folder)
            assert again.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(image="other_hrT2.nii.gz"), "is of image other_hrT2.nii.gz"),
        (lambda record: record.update(atlas="other.nii.gz"), "is of atlas other.nii.gz"),
        (lambda record: record.update(atlas_digest="0"), "is of another image than"),
        (lambda record: record["voxel_to_ras_mm"][2].__setitem__(3, 9), "is of another grid than"),
        (lambda record: record.update(shape=[1, 2, 3]), "is of another grid than"),
        (lambda record: record.pop("atlas_digest"), "is no record of sides R and L"),
        (lambda record: record["sides"].pop("L"), "is no record of sides R and L"),
        (
            lambda record: record["sides"]["R"].update(scan_to_atlas_ras_mm=[[1.0]]),
            "is no record of sides",
        ),
        (
            lambda record: record["sides"]["R"].update(scan_to_atlas_ras_mm=[[0.0] * 4] * 4),
            "is no record of sides",
        ),
        (
            # Of a scan that lay half a metre away.
            lambda record: record["sides"]["R"].update(
                scan_to_atlas_ras_mm=[[1, 0, 0, 500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
            ),
            "of the region of ear R lies in the field of view",
        ),
        (None, "does not exist"),
    ],
)
def test_records_that_do_not_fit_fail_their_case_alone(crops, data, run, tmp_path, change, message):
    folder, _ = crops
    transforms = tmp_path / "transforms"
    shutil.copytree(folder / "transforms", transforms)
    if change is None:
        (transforms / "b.json").unlink()
    else:
        record = json.loads((transforms / "b.json").read_text())
        change(record)
        (transforms / "b.json").write_text(json.dumps(record))
    result = run(data / "scans", tmp_path / "out", "--transforms", transforms)
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert (tmp_path / "out" / "a_1_R_hrT2.nii.gz").exists()
    assert not list((tmp_path / "out").glob("b_*"))


def test_a_label_follows_its_image_where_axes_lie_between_two_directions(data, run, tmp_path):
    """At 45 and 135 degrees rounding decides which axis of the world an array's axis is."""
    image, label, affine = head("T2", translation(SHIFT_MM), seed=1)
    centre = affine[:3, :3] @ ((np.array(image.shape) - 1) / 2) + affine[:3, 3]
    grids = []
    for angle in np.deg2rad([135 - 1e-4, 135 + 1e-4]):
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        grid = turn @ np.diag([2.0, 2.0, 2.5, 1.0])
        grid[:3, 3] = centre - grid[:3, :3] @ (59.5, 59.5, 39.5)
        grids.append(grid)
    assert nib.aff2axcodes(grids[0]) != nib.aff2axcodes(grids[1])
    shape = (120, 120, 80)
    turned = resample_to_grid(image, affine, shape, grids[0], order=1)
    marked = resample_to_grid(label.astype(np.float32), affine, shape, grids[0], order=0)
    save_image(tmp_path / "scans" / "t_hrT2.nii.gz", turned, grids[0])
    save_label(tmp_path / "scans" / "t_Label.nii.gz", marked.astype(np.uint8), grids[1])
    assert run(tmp_path / "scans", tmp_path / "out", "--side", "right").exit_code == 0
    crop = load_label(tmp_path / "out" / "t_R_Label.nii.gz")
    for value in (1, 2):
        # In the head both ears are labelled; the crop has the right one's structures.
        centres = [
            np.argwhere(one == value) @ grid[:3, :3].T + grid[:3, 3]
            for one, grid in ((crop.array, crop.affine), (label, affine))
        ]
        right = centres[1][centres[1][:, 0] > centre[0]]
        assert np.abs(centres[0].mean(axis=0) - right.mean(axis=0)).max() < 1


def test_a_scan_that_is_no_head_fails_and_the_others_go_on(data, run):
    folder = data / "mixed"
    folder.mkdir()
    os.link(data / "scans" / "a_1_hrT2.nii.gz", folder / "a_1_hrT2.nii.gz")
    noise = np.random.default_rng(0).random((40, 40, 20), dtype=np.float32)
    save_image(folder / "noise_hrT2.nii.gz", noise, np.diag([3.0, 3.0, 3.0, 1.0]))
    result = run(folder, data / "mixed_out", "--side", "right")
    assert result.exit_code == 1
    assert [file.case for file in find_images(data / "mixed_out")] == ["a_1_R"]


def test_dry_run_writes_nothing(data, run):
    result = run(data / "scans", data / "never", "--dry-run")
    assert len([line for line in result.stdout.splitlines() if "hrT2" in line]) == 4
    assert not (data / "never").exists()


@pytest.mark.parametrize("words", [("--side", "up"), ("--size", "1,2"), ("--spacing", "1,0,1")])
def test_wrong_options_are_refused(data, run, words):
    with pytest.raises(VsudaError):
        run(data / "scans", data / "never", *words, raises=True)


def test_labels_that_were_asked_for_must_be_there(data, run):
    with pytest.raises(VsudaError, match="has no a_1_Label"):
        run(data / "scans", data / "never", "--labels", data / "atlas", raises=True)


@pytest.mark.slow
@pytest.mark.skipif(not REALHEADS.exists(), reason="the real heads are kept beside the repository")
def test_no_label_of_real_heads_of_the_other_contrast_is_cut(tmp_path):
    atlas_app, crop_app = typer.Typer(), typer.Typer()
    atlas_app.command()(atlas)
    crop_app.command()(crop)
    made = tmp_path / "atlas"
    words = [REALHEADS / "source_training", made, "--workers", 2]
    assert CliRunner().invoke(atlas_app, [str(word) for word in words]).exit_code == 0
    for part in ("target_training", "target_validation"):
        words = [REALHEADS / part, tmp_path / part, "--labels", REALHEADS / f"{part}_labels"]
        words += ["--atlas", made / "atlas_ceT1.nii.gz", "--roi", made / "atlas_ROI.nii.gz"]
        words += ["--json", "--workers", 2]
        result = CliRunner().invoke(crop_app, [str(word) for word in words])
        assert result.exit_code == 0
        for record in map(json.loads, result.stdout.splitlines()):
            cut = [side["cut_label_voxels"] for side in record["sides"].values()]
            assert cut == [0, 0], record["case"]
