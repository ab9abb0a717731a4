"""`predict`: label maps on the images' grids, several runs, routing, whole scans, ranks."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import contents
from one_command import caller
from synthetic_head import RIGHT_MM, TUMOUR_MM, head
from tiny_runs import SEGMENTATION, save_images, segmenter_run, translator_run

from vsuda_cli.commands import crop_records
from vsuda_cli.commands.crop import crop
from vsuda_cli.commands.mt_train import mt_train
from vsuda_cli.commands.postprocess import postprocess
from vsuda_cli.commands.predict import predict
from vsuda_cli.commands.seg_train import seg_train
from vsuda_cli.commands.translate_train import translate_train
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import translation
from vsuda_cli.inference import load_run
from vsuda_cli.io.nifti import load_image, load_label, load_probability, save_image, save_label
from vsuda_cli.training import checkpoint
from vsuda_cli.training.run import choose_weights

call = caller(predict)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two runs, and four images, two of them with coarse pixels."""
    folder = tmp_path_factory.mktemp("data")
    segmenter_run(folder / "run", epoch=4)
    segmenter_run(folder / "other", seed=1, epoch=6)
    save_images(folder / "images", ["c_R", "a_L"], (24, 20, 8), (0.9, 0.8, 1.6))
    save_images(folder / "images", ["b", "d"], (14, 16, 8), (1.5, 1.2, 1.6))
    return folder


def test_labels_are_the_likeliest_classes_on_the_images_grid(data, tmp_path):
    result = call(data / "run", data / "images", tmp_path / "out")
    assert result.stdout.splitlines() == [
        str(tmp_path / "out" / f"{case}_Label.nii.gz") for case in ("a_L", "b", "c_R", "d")
    ]
    segment = load_run(data / "run")
    for case in ("a_L", "b", "c_R", "d"):
        image = load_image(data / "images" / f"{case}_hrT2.nii.gz")
        label = load_label(tmp_path / "out" / f"{case}_Label.nii.gz", class_count=3)
        assert np.allclose(label.affine, image.affine)
        wanted = segment(image.array, image.affine).argmax(axis=-1)
        assert np.array_equal(label.array, wanted)
        assert len(np.unique(wanted)) > 1


def test_probabilities_are_written_on_request(data, tmp_path):
    result = call(data / "run", data / "images", tmp_path / "out", "--probabilities", "--json")
    first = json.loads(result.stdout.splitlines()[0])
    names = ["a_L_Label.nii.gz", "a_L_Probability.nii.gz"]
    assert first["written"] == [str(tmp_path / "out" / name) for name in names]
    assert first["runs"] == {str(data / "run"): 4}
    image = load_image(data / "images" / "a_L_hrT2.nii.gz")
    found = load_probability(tmp_path / "out" / names[1])
    wanted = load_run(data / "run")(image.array, image.affine)
    assert np.allclose(found.array, wanted, atol=1e-5)
    assert np.allclose(found.affine, image.affine)
    label = load_label(tmp_path / "out" / names[0])
    sure = np.sort(wanted, axis=-1)[..., -1] - np.sort(wanted, axis=-1)[..., -2] > 1e-4
    assert np.array_equal(found.array.argmax(axis=-1)[sure], label.array[sure])


def test_several_runs_are_averaged(data, tmp_path):
    words = [data / "images" / "b_hrT2.nii.gz", tmp_path, "--probabilities", "--json"]
    result = call(data / "run", *words, "--ensemble", data / "other")
    assert json.loads(result.stdout)["runs"] == {str(data / "run"): 4, str(data / "other"): 6}
    image = load_image(data / "images" / "b_hrT2.nii.gz")
    both = [load_run(data / run)(image.array, image.affine) for run in ("run", "other")]
    found = load_probability(tmp_path / "b_Probability.nii.gz").array
    assert np.allclose(found, np.mean(both, axis=0), atol=1e-5)


def test_every_switch_changes_the_result(data, tmp_path):
    segmenter_run(data / "run", seed=5, epoch=9, best=False)
    words = [data / "run", data / "images" / "d_hrT2.nii.gz", tmp_path, "--force"]
    results = set()
    for extra in (
        [],
        ["--mirror"],
        ["--largest-pass", 10**6],
        ["--checkpoint", 9],
        ["--ensemble", data / "other"],
        ["--ensemble", data / "other", "--ensemble", data / "other"],
    ):
        call(*words, "--probabilities", *extra)
        results.add((tmp_path / "d_Probability.nii.gz").read_bytes())
    assert len(results) == 6


def test_pixels_route_images_to_one_of_two_runs(data, tmp_path):
    fine = call(data / "run", data / "images", tmp_path, "--inplane-below", 1.2)
    assert [Path(line).name[0] for line in fine.stdout.splitlines()] == ["a", "c"]
    assert "2 of 4 images are left to another run" in fine.stderr
    coarse = call(data / "other", data / "images", tmp_path, "--inplane-above", 1.2)
    assert [Path(line).name[0] for line in coarse.stdout.splitlines()] == ["b", "d"]
    # The limit itself goes to one of them, and to one only; nothing to do is no failure.
    exact = call(data / "run", data / "images", tmp_path / "x", "--inplane-below", 1.5)
    assert len(exact.stdout.splitlines()) == 4
    none = call(data / "run", data / "images", tmp_path / "y", "--inplane-above", 1.5)
    assert (none.exit_code, none.stdout) == (0, "")


def test_a_second_run_changes_no_byte_and_existing_output_is_refused(data, tmp_path):
    call(data / "run", data / "images", tmp_path, "--probabilities")
    before = contents(tmp_path)
    with pytest.raises(VsudaError, match="exists already"):
        call(data / "run", data / "images", tmp_path)
    (tmp_path / "b_Label.nii.gz").write_bytes(b"half")
    result = call(data / "run", data / "images", tmp_path, "--probabilities", "--skip-existing")
    assert len(result.stdout.splitlines()) == 2
    assert contents(tmp_path) == before
    call(data / "run", data / "images", tmp_path, "--probabilities", "--force")
    assert contents(tmp_path) == before


def test_a_bad_image_fails_alone(data, tmp_path):
    save_images(tmp_path / "images", ["a", "c"])
    (tmp_path / "images" / "b_hrT2.nii.gz").write_bytes(b"no image")
    result = call(data / "run", tmp_path / "images", tmp_path / "out")
    assert result.exit_code == 1
    assert sorted(contents(tmp_path / "out")) == ["a_Label.nii.gz", "c_Label.nii.gz"]
    assert "b_hrT2.nii.gz: is not a readable NIfTI file" in result.stderr


def test_dry_run_writes_nothing(data, tmp_path):
    result = call(data / "run", data / "images", tmp_path / "out", "--dry-run", "--probabilities")
    assert len(result.stdout.splitlines()) == 8
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_no_report_of_what_is_there(data, tmp_path):
    out, page = tmp_path / "out", tmp_path / "r.html"
    call(data / "run", data / "images", out)
    words = ["--skip-existing", "--report", page, "--dry-run"]
    result = call(data / "run", data / "images", out, *words)
    assert (result.stdout, page.exists()) == ("", False)
    assert f"would be written: {page}\n" in result.stderr


def test_what_does_not_fit_is_refused_before_anything_is_written(data, tmp_path):
    gan = translator_run(tmp_path / "gan")
    crops = segmenter_run(tmp_path / "crops", crops=True)
    images, out = data / "images", tmp_path / "out"
    for words, message in (
        ([gan, images, out], "does not segment"),
        ([data / "run", images, images], "input folder"),
        ([data / "run", images, out, "--ensemble", gan], "does not segment"),
        ([data / "run", images, out, "--ensemble", crops], "crops: True -> False"),
        ([data / "run", images, out, "--checkpoint", "first"], "use best, last or an epoch"),
        ([data / "run", images, out, "--atlas", "a.nii.gz"], "is given without --roi"),
        ([data / "run", images, out, "--roi", "a.nii.gz"], "is given without --atlas"),
        ([data / "run", images, out, "--side", "left"], "is of no use without --atlas"),
        ([data / "run", images, out, "--side", "up"], "write both, left or right"),
        ([data / "run", tmp_path / "gan", out], "holds no"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(*words)
    assert not out.exists()


def test_images_of_another_contrast_are_told(data, tmp_path):
    segmenter_run(tmp_path / "run", target_tag="ceT1")
    result = call(tmp_path / "run", data / "images", tmp_path / "out", "--ensemble", data / "run")
    assert result.exit_code == 0
    told = f"{tmp_path / 'run'} learnt to segment ceT1 images, and these are hrT2"
    assert result.stderr.replace("\n", " ").count("learnt to segment") == 1
    assert told in result.stderr.replace("\n", " ")
    segmenter_run(tmp_path / "same", target_tag="hrT2")
    result = call(tmp_path / "same", data / "images", tmp_path / "out", "--force")
    assert "learnt to segment" not in result.stderr


def test_ranks_and_shards_share_the_images(data, tmp_path, monkeypatch):
    call(data / "run", data / "images", tmp_path / "whole")
    for part in (1, 2, 3):
        call(data / "run", data / "images", tmp_path / "shards", "--shard", f"{part}/3")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, count in ((0, 2), (1, 1), (2, 1)):
        monkeypatch.setenv("RANK", str(rank))
        result = call(data / "run", data / "images", tmp_path / "ranks")
        assert len(result.stdout.splitlines()) == count
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "ranks") == whole == contents(tmp_path / "shards")
    # A page of one process's share would pass for all.
    with pytest.raises(VsudaError, match="--skip-existing"):
        call(data / "run", data / "images", tmp_path / "x", "--report", tmp_path / "r.html")


def test_a_report_shows_every_image(data, tmp_path):
    out, page = tmp_path / "out", tmp_path / "r.html"
    result = call(data / "run", data / "images", out, "--report", page)
    cases = [
        line.rpartition("/")[2].removesuffix("_Label.nii.gz") for line in result.stdout.split()
    ]
    assert len(cases) > 1
    text = page.read_text()
    for case in cases:
        assert f"<h3>{case}</h3>" in text
    assert "VS Volume (ml)" in text
    with pytest.raises(VsudaError, match="exists already"):
        call(data / "run", data / "images", tmp_path / "again", "--report", page)


def together(*words):
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "vsuda_cli", "predict"]
    return subprocess.run(
        [sys.executable, *launch, *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_torchrun_shares_the_images(data, tmp_path):
    call(data / "run", data / "images", tmp_path / "whole")
    done = together(data / "run", data / "images", tmp_path / "ranks")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert "process 2 of 2 takes 2 of 4" in done.stderr
    assert contents(tmp_path / "ranks") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_an_image_that_fails_in_one_process_ends_no_other(data, tmp_path):
    images = save_images(tmp_path / "images", ["b"], (100, 90, 40), (0.9, 0.8, 1.6))
    # The first process's only image, which it is done with long before the other one.
    (images / "a_hrT2.nii.gz").write_bytes(b"no image")
    done = together(data / "run", images, tmp_path / "out")
    assert done.returncode == 1
    assert "a_hrT2.nii.gz" in done.stderr
    assert len(contents(tmp_path / "out")) == 1


@pytest.mark.usefixtures("plain_pages")
def test_training_tells_whether_it_saw_crops_and_of_what(tmp_path):
    quick = ["--preset", "small", "--epochs", 1, "--set", "steps_per_epoch=1"]
    quick += ["--set", "validation_fraction=0", "--set", "patch_size=[16,16,8]"]
    for names, crops in ((["a_R", "a_L"], True), (["a_R", "b"], False)):
        images = save_images(tmp_path / str(crops), names, (24, 24, 8), tag="ceT1")
        for name in names:
            labels = np.zeros((24, 24, 8), np.uint8)
            labels[8:12, 8:12, 2:5], labels[15:18, 8:12, 2:5] = 1, 2
            save_label(images / f"{name}_Label.nii.gz", labels, np.diag([1, 1, 1.5, 1]))
        run = tmp_path / f"run-{crops}"
        assert caller(seg_train)(images, run, *quick).exit_code == 0
        assert load_run(run).crops == crops
        assert load_run(run).members[0].tag == "ceT1"
    # What it learns to segment is what has no labels.
    target = save_images(tmp_path / "target", ["t_R", "t_L"], (24, 24, 8))
    images, start, adapted = tmp_path / "True", tmp_path / "run-True", tmp_path / "adapted"
    assert caller(mt_train)(images, target, adapted, *quick, "--init", start).exit_code == 0
    assert load_run(adapted).members[0].tag == "hrT2"
    varied = ["--set", "curve_share=1.0", "--unlabelled", target]
    assert caller(seg_train)(images, tmp_path / "varied", *quick, *varied).exit_code == 0
    assert load_run(tmp_path / "varied").members[0].tag == "hrT2"
    run = tmp_path / "gan"
    small = ["--set", "base_channels=4", "--set", "residual_blocks=1"]
    small += ["--set", "discriminator_channels=4", "--set", "patch_size=[32,32,1]"]
    caller(translate_train)(images, images, run, *quick[:-2], *small)
    assert checkpoint.load_metadata(choose_weights(run, "best")[1])["crops"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A run of crops, an atlas with its region, one scan, and its crops."""
    folder = tmp_path_factory.mktemp("scans")
    image, _, affine = head("T1")
    save_image(folder / "atlas_ceT1.nii.gz", image, affine)
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    where = index @ affine[:3, :3].T + affine[:3, 3]
    box = (np.abs(where - (RIGHT_MM + TUMOUR_MM) / 2) < (22, 18, 18)).all(axis=-1)
    save_label(folder / "atlas_ROI.nii.gz", box, affine)
    image, _, affine = head("T2", translation(np.array([5.0, -6.0, 4.0])), seed=1)
    # Stored the other way round, as scanners do.
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(image.shape[:2]) - 1
    save_image(folder / "scans" / "a_hrT2.nii.gz", image[::-1, ::-1], affine @ flip)
    segmenter_run(folder / "run", settings=SEGMENTATION, crops=True)
    words = ["--atlas", folder / "atlas_ceT1.nii.gz", "--roi", folder / "atlas_ROI.nii.gz"]
    caller(crop)(folder / "scans", folder / "crops", *words)
    return folder, words


def test_one_command_segments_a_scan(scans, tmp_path):
    folder, atlas = scans
    result = call(folder / "run", folder / "scans", tmp_path, *atlas, "--probabilities")
    assert result.stdout.splitlines() == [
        str(tmp_path / "a_Label.nii.gz"),
        str(tmp_path / "a_Probability.nii.gz"),
    ]
    # The same as cutting, predicting and putting back by three commands.
    call(folder / "run", folder / "crops", tmp_path / "ears")
    asis = ["--no-largest", "--no-height-rule", "--like", folder / "scans"]
    caller(postprocess)(tmp_path / "ears", tmp_path / "back", *asis)
    found = load_label(tmp_path / "a_Label.nii.gz")
    scan = load_image(folder / "scans" / "a_hrT2.nii.gz")
    assert np.allclose(found.affine, scan.affine)
    assert np.array_equal(found.array, load_label(tmp_path / "back" / "a_Label.nii.gz").array)
    assert set(np.unique(found.array)) == {0, 1, 2}
    # Both ears' structures, right and left of the middle.
    middle = found.shape[0] // 2
    assert found.array[:middle].any()
    assert found.array[middle:].any()
    maps = load_probability(tmp_path / "a_Probability.nii.gz").array
    assert np.allclose(maps.sum(axis=-1), 1, atol=1e-4)
    assert (maps.argmax(axis=-1) == found.array).mean() > 0.9999
    assert (maps[0, 0, 0] == (1, 0, 0)).all()


def test_a_scan_that_shows_one_ear_is_segmented_there(scans, tmp_path):
    folder, atlas = scans
    scan = load_image(folder / "scans" / "a_hrT2.nii.gz")
    # The first axis runs to the left: what lies right of the middle, and a little more.
    kept = scan.array.shape[0] * 9 // 16
    save_image(tmp_path / "scans" / "a_hrT2.nii.gz", scan.array[:kept], scan.affine)
    result = call(folder / "run", tmp_path / "scans", tmp_path / "both", *atlas)
    assert result.exit_code == 1
    assert "of the region of ear L lies in the field of view" in result.stderr.replace("\n", " ")
    words = [*atlas, "--side", "right", "--json"]
    result = call(folder / "run", tmp_path / "scans", tmp_path / "one", *words)
    assert list(json.loads(result.stdout)["sides"]) == ["R"]
    found = load_label(tmp_path / "one" / "a_Label.nii.gz")
    assert found.array.shape == (kept, *scan.array.shape[1:])
    assert set(np.unique(found.array)) == {0, 1, 2}


def test_what_a_scan_is_padded_with_does_not_matter(scans, tmp_path):
    folder, atlas = scans
    scan = load_image(folder / "scans" / "a_hrT2.nii.gz")
    below = np.indices(scan.array.shape)[2] < scan.array.shape[2] * 2 // 5
    found = []
    for padding in (0, -1000):
        images = tmp_path / f"{padding}"
        save_image(images / "a_hrT2.nii.gz", np.where(below, padding, scan.array), scan.affine)
        words = [*atlas, "--size", "40,40,30"]
        caller(crop)(images, images / "crops", *words)
        crops = sorted((images / "crops").glob("*_hrT2.nii.gz"))
        shares = [(load_image(path).array == padding).mean() for path in crops]
        assert len(shares) == 2
        assert all(0.1 < share < 0.9 for share in shares)
        call(folder / "run", images / "a_hrT2.nii.gz", images / "out", *atlas)
        found.append(load_label(images / "out" / "a_Label.nii.gz").array)
    assert found[0].any()
    assert np.array_equal(found[0], found[1])


def test_a_scan_that_hardly_resembles_the_atlas_is_named(scans, tmp_path, monkeypatch):
    folder, atlas = scans
    monkeypatch.setattr(crop_records, "DOUBTFUL_SIMILARITY", 0.99)
    result = call(folder / "run", folder / "scans", tmp_path, *atlas, "--json")
    sides = json.loads(result.stdout)["sides"]
    for side in ("R", "L"):
        line = f"a: look at side {side}: similarity {sides[side]['similarity']:.3f}"
        assert line in result.stderr.replace("\n", " ")


def test_whole_scans_need_an_atlas_and_crops_do_not(scans, tmp_path):
    folder, atlas = scans
    with pytest.raises(VsudaError, match=r"a_hrT2\.nii\.gz: is no crop of an ear.*give --atlas"):
        call(folder / "run", folder / "scans", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    whole = segmenter_run(tmp_path / "whole", crops=False)
    with pytest.raises(VsudaError, match="--atlas: is of no use"):
        call(whole, folder / "scans", tmp_path / "out", *atlas)
    # With an atlas at hand, crops are still taken as they are.
    call(folder / "run", folder / "crops", tmp_path / "with", *atlas)
    call(folder / "run", folder / "crops", tmp_path / "without")
    assert contents(tmp_path / "with") == contents(tmp_path / "without")
