"""`translate-export`: pseudo-images of one or several epochs, labels on their grid."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import contents
from one_command import caller
from tiny_runs import (
    PREPROCESSING,
    SPACING_MM,
    TRANSLATION,
    noise_image,
    save_images,
    save_run,
    segmenter_run,
    translator_run,
)

from vsuda_cli import config, resolving
from vsuda_cli.commands import translate_export as module
from vsuda_cli.commands.translate_export import translate_export
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.resampling import resample_label
from vsuda_cli.io import nifti
from vsuda_cli.io.cases import find_images, labelled_images
from vsuda_cli.io.nifti import load_image, load_label, same_grid, save_image, save_label
from vsuda_cli.training.data import load_item
from vsuda_cli.training.device import choose_device
from vsuda_cli.training.translation import build_generator
from vsuda_cli.translating import load_translator

pytestmark = pytest.mark.usefixtures("plain_pages")

AFFINE = np.diag([0.9, 0.8, 1.6, 1.0])


call = caller(translate_export)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A run with three epochs, two labelled sources and one without label."""
    folder = tmp_path_factory.mktemp("data")
    for epoch, best in ((3, False), (7, True), (12, False)):
        translator_run(folder / "run", seed=epoch, epoch=epoch, best=best)
    save_images(folder / "source", ["b_R", "a_L"], (24, 20, 8), (0.9, 0.8, 1.6), tag="ceT1")
    for case in ("b_R", "a_L"):
        labels = np.zeros((24, 20, 8), np.uint8)
        labels[4:14, 5:12, 2:6], labels[16:20, 5:10, 3:5] = 1, 2
        save_label(folder / "source" / f"{case}_Label.nii.gz", labels, AFFINE)
    save_image(folder / "source" / "c_ceT1.nii.gz", noise_image((20, 20, 8), 9), AFFINE)
    return folder


def test_the_best_epoch_is_written_with_labels_on_its_grid(data, tmp_path):
    result = call(data / "run", data / "source", tmp_path, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["case"], row["epoch"]) for row in rows] == [
        ("a_L_e007", 7),
        ("b_R_e007", 7),
        ("c_e007", 7),
    ]
    assert sorted(contents(tmp_path)) == [
        "a_L_e007_Label.nii.gz",
        "a_L_e007_hrT2.nii.gz",
        "b_R_e007_Label.nii.gz",
        "b_R_e007_hrT2.nii.gz",
        "c_e007_hrT2.nii.gz",
    ]
    source = load_image(data / "source" / "b_R_ceT1.nii.gz")
    translate = load_translator(data / "run", "best", choose_device("cpu"))
    wanted, affine = translate(source.array, source.affine)
    pseudo = load_image(tmp_path / "b_R_e007_hrT2.nii.gz")
    # Stored in steps of 1/65535.
    assert np.allclose(pseudo.array, wanted, rtol=0, atol=0.51 / 65535)
    assert np.allclose(pseudo.affine, affine)
    assert np.allclose(pseudo.spacing_mm, SPACING_MM)
    label = load_label(tmp_path / "b_R_e007_Label.nii.gz")
    assert same_grid(label, pseudo)
    original = load_label(data / "source" / "b_R_Label.nii.gz")
    assert np.array_equal(label.array, resample_label(original.array, AFFINE, SPACING_MM)[0])
    assert set(np.unique(label.array)) == {0, 1, 2}


def test_what_is_exported_trains_a_segmenter_as_it_is(data, tmp_path):
    # On the training grid already, so that training resamples nothing.
    call(data / "run", data / "source" / "b_R_ceT1.nii.gz", tmp_path)
    ((image, label),) = labelled_images(tmp_path)
    item = load_item(image, label, PREPROCESSING, 3)
    assert item.subject == "b"
    assert tuple(item.image.shape[1:]) == load_image(image.path).shape
    assert np.array_equal(item.label.numpy(), load_label(label).array)


def test_several_epochs_in_one_call(data, tmp_path, monkeypatch):
    loaded = []
    original = nifti.load_image

    def count(path):
        loaded.append(path.name)
        return original(path)

    monkeypatch.setattr(nifti, "load_image", count)
    words = ["--checkpoint", 3, "--checkpoint", "last", "--checkpoint", "best", "--checkpoint", 12]
    result = call(data / "run", data / "source", tmp_path / "together", *words)
    cases = [Path(line).name for line in result.stdout.splitlines() if "hrT2" in line]
    assert cases == [
        f"{case}_e{epoch}_hrT2.nii.gz"
        for case in ("a_L", "b_R", "c")
        for epoch in ("003", "007", "012")
    ]
    # One image is read once for all of its epochs.
    assert sorted(loaded) == ["a_L_ceT1.nii.gz", "b_R_ceT1.nii.gz", "c_ceT1.nii.gz"]
    for epoch in ("3", "7", "12"):
        call(data / "run", data / "source", tmp_path / "apart", "--checkpoint", epoch)
    together = contents(tmp_path / "together")
    assert together == contents(tmp_path / "apart")
    assert len({together[f"c_e{epoch}_hrT2.nii.gz"] for epoch in ("003", "007", "012")}) == 3


def test_names_of_tags_and_pseudo_images(data, tmp_path):
    call(data / "run", data / "source" / "c_ceT1.nii.gz", tmp_path, "--tag", "T2")
    assert [(image.case, image.tag) for image in find_images(tmp_path)] == [("c_e007", "T2")]


def test_large_images_of_a_3d_network_go_in_windows(data, tmp_path):
    settings = dataclasses.replace(TRANSLATION, dims=3, patch_size=(16, 16, 4))
    run = translator_run(tmp_path / "run", settings=settings)
    words = [run, data / "source" / "c_ceT1.nii.gz", tmp_path / "out", "--force"]
    results = []
    for extra in ([], ["--largest-pass", 100]):
        call(*words, *extra)
        results.append(load_image(tmp_path / "out" / "c_e001_hrT2.nii.gz").array)
    assert results[0].shape == results[1].shape
    assert not np.array_equal(*results)
    assert 0 <= results[1].min() < results[1].max() <= 1


def test_a_run_of_cutseg_translates_too(data, tmp_path):
    generator = build_generator(TRANSLATION)
    more = {"translation": resolving.to_dict(TRANSLATION), "target_tag": "hrT2"}
    run = tmp_path / "run"
    settings = config.CutSegSettings(preprocessing=PREPROCESSING)
    save_run(run, "cutseg-train", {"generator": generator}, settings, epoch=5, **more)
    call(run, data / "source", tmp_path / "out")
    assert "b_R_e005_Label.nii.gz" in contents(tmp_path / "out")


def test_a_label_on_another_grid_fails_alone(data, tmp_path):
    save_images(tmp_path / "source", ["a", "b"], tag="ceT1")
    save_label(tmp_path / "source" / "a_Label.nii.gz", np.ones((4, 4, 4)), AFFINE)
    words = ["--checkpoint", 3, "--checkpoint", 7]
    result = call(data / "run", tmp_path / "source", tmp_path / "out", *words)
    assert result.exit_code == 1
    assert result.stderr.count("a_Label.nii.gz: is on another grid than a_ceT1.nii.gz") == 2
    assert sorted(contents(tmp_path / "out")) == ["b_e003_hrT2.nii.gz", "b_e007_hrT2.nii.gz"]


def test_existing_output_is_refused_kept_or_made_again(data, tmp_path):
    call(data / "run", data / "source", tmp_path)
    before = contents(tmp_path)
    with pytest.raises(VsudaError, match="exists already"):
        call(data / "run", data / "source", tmp_path)
    (tmp_path / "b_R_e007_Label.nii.gz").unlink()
    result = call(data / "run", data / "source", tmp_path, "--skip-existing")
    assert len(result.stdout.splitlines()) == 2
    assert contents(tmp_path) == before
    call(data / "run", data / "source", tmp_path, "--force")
    assert contents(tmp_path) == before


def test_shards_and_ranks_share_the_work(data, tmp_path, monkeypatch):
    words = [data / "run", data / "source"]
    epochs = ["--checkpoint", 3, "--checkpoint", 7]
    call(*words, tmp_path / "whole", *epochs)
    for part in (1, 2):
        call(*words, tmp_path / "shards", *epochs, "--shard", f"{part}/2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        call(*words, tmp_path / "ranks", *epochs)
    whole = contents(tmp_path / "whole")
    assert whole == contents(tmp_path / "shards") == contents(tmp_path / "ranks")


def test_dry_run_and_what_is_refused(data, tmp_path):
    result = call(data / "run", data / "source", tmp_path / "out", "--dry-run")
    assert len(result.stdout.splitlines()) == 5
    seg = segmenter_run(tmp_path / "seg")
    for words, message in (
        ([seg, data / "source", tmp_path / "out"], "does not translate"),
        ([data / "run", data / "source", data / "source"], "input folder"),
        ([data / "run", data / "source", tmp_path / "out", "--checkpoint", 4], "no checkpoint of"),
        ([data / "run", data / "source", tmp_path / "out", "--tag", "Label"], "no tag of an image"),
        ([data / "run", data / "source", tmp_path / "out", "--tag", "a/b"], "no tag of an image"),
        ([data / "run", data / "source", tmp_path / "out", "--tag", "a_b"], "no tag of an image"),
    ):
        with pytest.raises(VsudaError, match=message):
            call(*words)
    assert not (tmp_path / "out").exists()


def test_the_stages_are_what_the_command_runs(data, tmp_path):
    translator = load_translator(data / "run", "best", choose_device("cpu"))
    path = data / "source" / "c_ceT1.nii.gz"
    pair = module.load(translator, (path, None))
    target = 7, (tmp_path / "c_e007_hrT2.nii.gz",)
    result = module.save(module.compute({7: translator}, pair, target), target)
    assert result.written == target[1]
    assert pair.label is None
    assert load_image(target[1][0]).shape == tuple(pair.prepared.image.shape[2:])
