"""`postprocess`: rules per ear, and both ears back on the scan."""

import json

import numpy as np
import pytest
from any_grid import rigid_affines
from hypothesis import given, settings
from hypothesis import strategies as st
from one_command import caller

from vsuda_cli.commands.postprocess import postprocess
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.cropping import cut_box, mirror, to_canonical
from vsuda_cli.io.nifti import load_label, save_image, save_label

AFFINE = np.array([[-0.8, 0, 0, 70], [0, -0.8, 0, 40], [0, 0, 1.5, -20], [0, 0, 0, 1.0]])
STARTS = {"R": (20, 20, 0), "L": (120, 20, 0)}
SIZE = (40, 50, 30)


call = caller(postprocess)


def truth():
    labels = np.zeros((180, 90, 30), dtype=np.uint8)
    for x in (40, 140):
        labels[x : x + 4, 45:48, 5:7] = 2
    labels[30:36, 40:50, 3:9] = 1
    return labels


def save_ears(folder, labels, starts=None, size=SIZE):
    """Save the label map of a scan, and the crops of both its ears, the left one mirrored."""
    for side, start in (starts or STARTS).items():
        crop, affine = cut_box(labels, AFFINE, start, size)
        if side == "L":
            crop, affine = mirror(crop, affine)
        save_label(folder / "labels" / f"a_{side}_Label.nii.gz", crop, affine)
    save_label(folder / "whole" / "a_Label.nii.gz", labels, AFFINE)


@pytest.fixture
def data(tmp_path):
    """One scan, and its ears' labels with a false tumour high above and a speck of cochlea."""
    save_image(tmp_path / "scans" / "a_hrT2.nii.gz", np.zeros((180, 90, 30)), AFFINE)
    dirty = truth()
    dirty[40:50, 40:50, 24:29] = 1
    dirty[145, 60, 5] = 2
    save_ears(tmp_path, dirty)
    return tmp_path


def test_both_ears_come_back_clean_on_the_scan(data):
    result = call(data / "labels", data / "out", "--like", data / "scans")
    assert result.stdout.splitlines() == [str(data / "out" / "a_Label.nii.gz")]
    found = load_label(data / "out" / "a_Label.nii.gz")
    assert np.array_equal(found.array, truth())
    assert np.allclose(found.affine, AFFINE)
    lines = result.stderr.splitlines()
    assert any(
        line.startswith("a_R: VS: removed 1 component, 500 voxels (480.0 mm3)")
        and "above the cochlea" in line
        for line in lines
    )
    assert "a_L: cochlea: removed 1 component, 1 voxel (1.0 mm3)" in result.stderr


def test_crops_alone_and_the_record(data):
    result = call(data / "labels", data / "out", "--json")
    left, right = (json.loads(line) for line in result.stdout.splitlines())
    assert [one["rule"] for one in right["removed"]] == ["height"]
    assert right["removed"][0]["label"] == "a_R"
    assert [(one["structure"], one["voxels"]) for one in left["removed"]] == [("cochlea", 1)]
    source = load_label(data / "labels" / "a_L_Label.nii.gz")
    found = load_label(data / "out" / "a_L_Label.nii.gz")
    assert np.allclose(found.affine, source.affine)
    assert (source.array != found.array).sum() == 1


def test_whole_scans_are_cleaned_half_by_half(data):
    call(data / "whole", data / "out")
    assert np.array_equal(load_label(data / "out" / "a_Label.nii.gz").array, truth())
    call(data / "whole", data / "like", "--like", data / "scans")
    assert np.array_equal(load_label(data / "like" / "a_Label.nii.gz").array, truth())


def test_every_switch_changes_the_result(data):
    def voxels(*words):
        call(data / "labels", data / "out", "--force", *words)
        found = [load_label(data / "out" / f"a_{side}_Label.nii.gz").array for side in "RL"]
        return [int((array == value).sum()) for array in found for value in (1, 2)]

    assert voxels() == [360, 24, 0, 24]
    assert voxels("--no-height-rule") == [500, 24, 0, 24]
    assert voxels("--max-above-mm", "40") == [500, 24, 0, 24]
    assert voxels("--max-distance-mm", "0.1") == [0, 24, 0, 24]
    assert voxels("--no-largest") == [360, 24, 0, 25]
    assert voxels("--no-largest", "--no-height-rule") == [860, 24, 0, 25]
    assert voxels("--no-largest", "--smallest-mm3", "2") == [360, 24, 0, 24]


def test_one_sided_keeps_the_largest_tumour_of_both_ears(data):
    dirty = truth()
    dirty[150:152, 40:50, 3:9] = 1
    save_ears(data, dirty)
    like = ["--like", data / "scans"]
    call(data / "labels", data / "both", *like)
    assert np.array_equal(load_label(data / "both" / "a_Label.nii.gz").array, dirty)
    for folder in ("labels", "whole"):
        result = call(data / folder, data / f"{folder}-one", *like, "--one-sided", "--json")
        assert np.array_equal(load_label(data / f"{folder}-one" / "a_Label.nii.gz").array, truth())
        (gone,) = json.loads(result.stdout)["removed"]
        assert (gone["rule"], gone["voxels"]) == ("side", 120)
    result = call(data / "labels", data / "ears", "--one-sided")
    assert sorted(result.stdout.split()) == [
        str(data / "ears" / f"a_{side}_Label.nii.gz") for side in "LR"
    ]
    found = {side: load_label(data / "ears" / f"a_{side}_Label.nii.gz").array for side in "LR"}
    assert np.count_nonzero(found["R"] == 1) == 6 * 10 * 6
    assert np.count_nonzero(found["L"] == 1) == 0 < np.count_nonzero(found["L"] == 2)


def test_one_sided_keeps_what_both_crops_show_of_one_tumour(tmp_path):
    dirty = np.zeros((180, 90, 30), dtype=np.uint8)
    dirty[60:110, 40:50, 3:9] = 1
    # And a speck in each crop alone: the left one is mirrored.
    dirty[22:24, 22:24, 2:4] = 1
    dirty[156:158, 22:24, 2:4] = 1
    save_ears(tmp_path, dirty, {"R": (20, 20, 0), "L": (80, 20, 0)}, (80, 50, 30))
    call(tmp_path / "labels", tmp_path / "out", "--one-sided", "--no-largest")
    counts = {
        side: np.count_nonzero(load_label(tmp_path / "out" / f"a_{side}_Label.nii.gz").array)
        for side in "RL"
    }
    assert counts == {"R": 40 * 10 * 6, "L": 30 * 10 * 6}


@pytest.mark.parametrize("words", [["--max-distance-mm", 10], ["--max-above-mm", 14]])
def test_the_other_ears_tumour_stays_in_a_crop_that_shows_its_end(tmp_path, words):
    dirty = np.zeros((180, 90, 30), dtype=np.uint8)
    for x in (40, 140):
        dirty[x : x + 4, 45:48, 5:7] = 2
    # From beside the right cochlea past the middle, where it is higher than beside it.
    dirty[46:110, 40:50, 9:16] = 1
    dirty[80:110, 40:50, 16:24] = 1
    expected = dirty.copy()
    # Far from its cochlea, and met by nothing that the right crop keeps.
    dirty[150:156, 22:26, 24:28] = 1
    save_ears(tmp_path, dirty, {"R": (20, 20, 0), "L": (80, 20, 0)}, (80, 50, 30))
    save_image(tmp_path / "scans" / "a_hrT2.nii.gz", np.zeros(dirty.shape), AFFINE)
    like = ["--like", tmp_path / "scans", "--json"]
    result = call(tmp_path / "labels", tmp_path / "out", *words, *like)
    assert np.array_equal(load_label(tmp_path / "out" / "a_Label.nii.gz").array, expected)
    (gone,) = json.loads(result.stdout)["removed"]
    assert (gone["label"], gone["voxels"]) == ("a_L", 6 * 4 * 4)


def test_connectivity_and_holes(tmp_path):
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[5:10, 5:10, 5:10] = 1
    labels[7, 7, 7], labels[10, 10, 10] = 0, 1
    save_label(tmp_path / "in" / "a_R_Label.nii.gz", labels, np.eye(4))
    for words, expected in (
        ([], 125),
        (["--connectivity", 6], 124),
        (["--fill-holes"], 126),
    ):
        result = call(tmp_path / "in", tmp_path / "out", "--force", *words)
        assert load_label(tmp_path / "out" / "a_R_Label.nii.gz").array.sum() == expected
        assert "no cochlea, the rule of height is skipped" in result.stderr


def test_a_label_without_its_scan_is_named(data):
    save_label(data / "labels" / "b_R_Label.nii.gz", np.zeros((4, 4, 4)), AFFINE)
    with pytest.raises(VsudaError, match=r"b_R_Label\.nii\.gz: has no scan b_"):
        call(data / "labels", data / "out", "--like", data / "scans")
    assert not (data / "out").exists()


def test_a_label_beside_its_scan_in_space_fails(data):
    far = AFFINE.copy()
    far[0, 3] += 500
    save_label(data / "labels" / "a_L_Label.nii.gz", np.ones((4, 4, 4)), far)
    result = call(data / "labels", data / "out", "--like", data / "scans")
    assert result.exit_code == 1
    assert "lies outside" in result.stderr


def test_where_crops_overlap_the_right_ears_structures_stay(tmp_path):
    save_image(tmp_path / "scans" / "a_hrT2.nii.gz", np.zeros((180, 90, 30)), AFFINE)
    for side, start, value in (("R", 20, 2), ("L", 50, 1)):
        crop, affine = cut_box(np.zeros((180, 90, 30), np.uint8), AFFINE, (start, 20, 0), SIZE)
        labels = np.full_like(crop, value)
        if side == "L":
            labels, affine = mirror(labels, affine)
        save_label(tmp_path / "labels" / f"a_{side}_Label.nii.gz", labels, affine)
    scans = tmp_path / "scans"
    assert call(tmp_path / "labels", tmp_path / "out", "--like", scans).exit_code == 0
    merged = load_label(tmp_path / "out" / "a_Label.nii.gz").array
    assert (merged[20:60, 20:70] == 2).all()
    assert (merged[60:90, 20:70] == 1).all()


def test_an_ear_whose_labels_the_other_has_already_is_no_error(data):
    # Both crops reach over the middle; all that is found in one lies within what the other found.
    right = load_label(data / "labels" / "a_R_Label.nii.gz")
    save_label(data / "labels" / "a_L_Label.nii.gz", right.array, right.affine)
    result = call(data / "labels", data / "out", "--like", data / "scans")
    assert result.exit_code == 0
    assert load_label(data / "out" / "a_Label.nii.gz").array.any()


def test_wrong_words_are_refused(data):
    for words, message in (
        (["--connectivity", 7], "use 6, 18 or 26"),
        (["--no-height-rule", "--max-above-mm", 3], "would not be used with --no-height-rule"),
        (["--classes", "a,b"], "use --no-height-rule"),
        (["--classes", "a,b", "--no-height-rule", "--max-distance-mm", 8], "of distance is about"),
        (["--classes", "a,b", "--no-height-rule", "--one-sided"], "lacks VS, which --one-sided"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(data / "labels", data / "out", *words)
    with pytest.raises(VsudaError, match="input folder"):
        call(data / "labels", data / "labels")
    save_image(data / "films" / "a_hrT2.nii.gz", np.zeros((180, 90, 30, 2)), AFFINE)
    film = call(data / "labels", data / "film", "--like", data / "films")
    assert "give a 3D scan" in film.stderr
    assert film.exit_code == 1
    call(data / "labels", data / "out", "--classes", "a,b", "--no-height-rule")
    save_label(data / "labels" / "a_L_Label.nii.gz", np.full((4, 4, 4), 3), AFFINE)
    assert "holds label 3" in call(data / "labels", data / "out", "--force").stderr


@st.composite
def scans(draw):
    """Any scan's grid: RAS, LPS, permuted, oblique, anisotropic; and the boxes of its two ears.

    Boxes reach over the field of view by up to three voxels, where crops are padded.
    """
    affine = draw(rigid_affines())
    shape = draw(st.tuples(*[st.integers(6, 14)] * 3))
    low = draw(st.tuples(*[st.integers(-3, 2)] * 3))
    over = draw(st.integers(0, 3))
    return shape, affine, low, over


@settings(max_examples=25, deadline=None, derandomize=True)
@given(scans(), st.integers(0, 2**31))
def test_any_scan_gets_its_labels_back(tmp_path_factory, scan, seed):
    shape, affine, low, over = scan
    folder = tmp_path_factory.mktemp("any")
    # What files keep of an affine is float32.
    affine = affine.astype(np.float32).astype(np.float64)
    label = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    save_image(folder / "scans" / "a_hrT2.nii.gz", np.zeros(shape, np.float32), affine)
    turned, turned_affine = to_canonical(label, affine)
    half = turned.shape[0] // 2
    kept = np.zeros_like(turned)
    for side, first in (("R", half), ("L", low[0])):
        start = (first, low[1], low[2])
        size = (
            (turned.shape[0] if side == "R" else half) - first + (over if side == "R" else 0),
            *(n - s + over for n, s in zip(turned.shape[1:], low[1:], strict=True)),
        )
        box = tuple(
            slice(max(s, 0), max(s, 0) + n - max(0, -s)) for s, n in zip(start, size, strict=True)
        )
        kept[box] = turned[box]
        crop, crop_affine = cut_box(turned, turned_affine, start, size)
        if side == "L":
            crop, crop_affine = mirror(crop, crop_affine)
        save_label(folder / "labels" / f"a_{side}_Label.nii.gz", crop, crop_affine)
    words = ["--no-largest", "--no-height-rule", "--quiet"]
    call(folder / "labels", folder / "out", "--like", folder / "scans", *words)
    found = load_label(folder / "out" / "a_Label.nii.gz")
    back, _ = to_canonical(found.array, affine)
    assert found.shape == shape
    # Nothing in the ears' boxes is lost or moved, nothing appears outside of them.
    assert np.array_equal(back, kept)
    assert np.allclose(found.affine, affine, atol=1e-4)


def test_outlines_snap_to_the_scan(data):
    labels = truth()
    scan = np.where(labels == 1, 0.4, 0.1) + np.where(labels == 2, 0.9, 0)
    noise = np.random.default_rng(0).normal(0, 0.01, scan.shape)
    save_image(data / "scans" / "a_hrT2.nii.gz", (scan + noise).astype(np.float32), AFFINE)
    tight = labels.copy()
    tight[30, 40:50, 3:9] = 0
    tight[30:36, 49, 3:9] = 0
    save_ears(data, tight)
    call(data / "labels", data / "plain", "--like", data / "scans")
    call(data / "labels", data / "snapped", "--like", data / "scans", "--snap")
    plain = load_label(data / "plain" / "a_Label.nii.gz").array
    snapped = load_label(data / "snapped" / "a_Label.nii.gz").array
    assert np.array_equal(plain, tight)
    # A noisy twentieth of the voxels at either end of a structure's intensities is not its own.
    assert np.count_nonzero(snapped != labels) < 0.3 * np.count_nonzero(tight != labels)


def test_snapping_needs_the_scans(data):
    with pytest.raises(VsudaError, match="needs the scans' images"):
        call(data / "labels", data / "out", "--snap")


def test_cysts_are_filled_and_told(data):
    holed = truth()
    holed[32:34, 43:46, 5] = 0
    save_ears(data, holed)
    words = ["--like", data / "scans"]
    plain = call(data / "labels", data / "plain", *words)
    filled = call(data / "labels", data / "out", *words, "--fill-cysts", "--json")
    assert "cysts" not in plain.stderr
    assert "a: VS: 6 voxels (5.8 mm3) of cysts filled" in filled.stderr
    (record,) = json.loads(filled.stdout)["removed"]
    assert (record["label"], record["rule"], record["voxels"]) == ("a", "cysts", 6)
    assert np.array_equal(load_label(data / "out" / "a_Label.nii.gz").array, truth())
    # And without scans, ear by ear.
    call(data / "labels", data / "ears", "--fill-cysts")
    ear = load_label(data / "ears" / "a_R_Label.nii.gz")
    assert np.array_equal(ear.array, cut_box(truth(), AFFINE, STARTS["R"], SIZE)[0])


def test_cysts_are_of_the_tumour(data):
    with pytest.raises(VsudaError, match="lacks VS, which --fill-cysts is about"):
        call(data / "labels", data / "out", "--fill-cysts", "--no-height-rule", "--classes", "a,b")
