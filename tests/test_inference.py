"""A run becomes a function: the training's preprocessing, averages, the image's own grid."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_runs import (
    OTHER,
    PREPROCESSING,
    SAME,
    SEGMENTATION,
    noise_image,
    save_images,
    segmenter_run,
    translator_run,
)

from vsuda_cli import config, inference
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.preprocessing import prepare
from vsuda_cli.images.resampling import resample_to_grid
from vsuda_cli.inference import load_network, load_run
from vsuda_cli.io.cases import find_images
from vsuda_cli.io.nifti import load_image
from vsuda_cli.training.data import load_item
from vsuda_cli.training.exclusion import excluded
from vsuda_cli.training.segmenter import predict_classes
from vsuda_cli.translating import load_translator

CPU = torch.device("cpu")


def test_the_network_sees_what_it_saw_in_training(tmp_path):
    # Another spacing, so that both the grid and the intensities are at stake.
    image = find_images(save_images(tmp_path, ["a"], spacing_mm=(0.8, 1.3, 2.0)))[0]
    trained_on = load_item(image, None, PREPROCESSING, 1).image
    volume = load_image(image.path)
    for loaded in (
        load_run(segmenter_run(tmp_path / "seg")),
        load_translator(translator_run(tmp_path / "gan"), "best", CPU),
    ):
        prepared = loaded.prepare(volume.array, volume.affine)
        assert torch.equal(prepared.image[0], trained_on)


def test_on_the_training_grid_it_is_the_networks_softmax(tmp_path):
    folder = segmenter_run(tmp_path / "run")
    image = noise_image()
    found = load_run(folder, largest_pass=image.size)(image, SAME)
    network = load_network(folder, "best", CPU).network
    array, _ = prepare(image, SAME, PREPROCESSING)
    with torch.no_grad():
        wanted = network(torch.from_numpy(array)[None, None]).softmax(dim=1)[0]
    assert found.shape == (20, 18, 9, 3)
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted.permute(1, 2, 3, 0).numpy())
    # The labels are those that validation scores.
    images = torch.from_numpy(array)[None, None]
    classes = predict_classes(network, images, CPU, mixed=True)[0].numpy()
    assert np.array_equal(found.argmax(axis=-1), classes)
    assert len(np.unique(classes)) == 3


def test_probabilities_come_back_to_the_images_own_grid(tmp_path):
    folder = segmenter_run(tmp_path / "run")
    turned = np.array([[0, -1.3, 0, 10], [0.8, 0, 0, -5], [0, 0, 2.0, 3], [0, 0, 0, 1.0]])
    image = noise_image((23, 14, 8))
    network = load_network(folder, "best", CPU).network
    # Of three times the spacing: each of its voxels is one of the network's, and no more.
    coarser = np.diag([3.0, 1.3, 2.0, 1.0])
    for affine in (OTHER, turned, coarser):
        found = load_run(folder, largest_pass=10**6)(image, affine)
        array, new_affine = prepare(image, affine, PREPROCESSING)
        with torch.no_grad():
            coarse = network(torch.from_numpy(array)[None, None]).softmax(dim=1)[0].numpy()
        # The general resampling of any grid to any grid, which knows no common axes.
        wanted = [resample_to_grid(one, new_affine, image.shape, affine, order=1) for one in coarse]
        inside = np.sum(wanted, axis=0) > 0.99
        assert inside.mean() > 0.7
        assert found.shape == (*image.shape, 3)
        assert np.allclose(found[inside], np.stack(wanted, axis=-1)[inside], atol=1e-4)
        assert np.allclose(found.sum(axis=-1), 1, atol=1e-5)


def test_a_shift_in_the_world_changes_nothing(tmp_path):
    segment = load_run(segmenter_run(tmp_path / "run"))
    moved = OTHER.copy()
    moved[:3, 3] = (100, -50, 7)
    assert np.array_equal(segment(noise_image(), OTHER), segment(noise_image(), moved))


def test_the_mirrored_image_is_averaged_in(tmp_path):
    folder = segmenter_run(tmp_path / "run")
    image = noise_image()
    plain, both = load_run(folder), load_run(folder, mirror=True)
    flipped = np.ascontiguousarray(image[::-1])
    wanted = (plain(image, SAME) + plain(flipped, SAME)[::-1]) / 2
    assert np.allclose(both(image, SAME), wanted, atol=1e-6)
    assert not np.allclose(both(image, SAME), plain(image, SAME), atol=1e-3)
    assert np.allclose(both(flipped, SAME)[::-1], both(image, SAME), atol=1e-6)


@pytest.mark.parametrize("mirror", [False, True])
def test_where_no_structure_can_be_none_is_found(tmp_path, mirror):
    ranges = ((0.2, 0.9), (0.9, 1.0))
    keeps = dataclasses.replace(SEGMENTATION, structure_ranges=ranges, exclude_by_intensity=True)
    image = noise_image()
    plain = load_run(segmenter_run(tmp_path / "plain"), mirror=mirror)(image, SAME)
    found = load_run(segmenter_run(tmp_path / "run", settings=keeps), mirror=mirror)(image, SAME)
    nowhere = excluded(torch.from_numpy(prepare(image, SAME, PREPROCESSING)[0])[None], ranges)
    assert 0 < int(nowhere[1].sum()) < nowhere[1].numel()
    for structure, where in enumerate(nowhere.numpy(), start=1):
        assert (found[where, structure] == 0).all()
        np.testing.assert_allclose(found[~where, structure], plain[~where, structure], atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    assert found.min() >= 0


def test_runs_are_averaged(tmp_path):
    folders = [segmenter_run(tmp_path / f"run{seed}", seed) for seed in range(3)]
    image = noise_image()
    alone = [load_run(folder)(image, OTHER) for folder in folders]
    found = load_run(folders[0], ensemble=folders[1:])(image, OTHER)
    assert np.allclose(found, np.mean(alone, axis=0), atol=1e-6)
    assert not np.allclose(alone[0], alone[1], atol=1e-2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ("VS", "canal")}, r"classes: \['VS', 'canal'\] -> \['VS', 'cochlea'\]"),
        (
            {"preprocessing": config.Preprocessing(spacing_mm=(1.0, 1.0, 2.0))},
            "preprocessing.spacing_mm: ",
        ),
        (
            {"preprocessing": dataclasses.replace(PREPROCESSING, percentiles=(1, 99))},
            "preprocessing.percentiles: ",
        ),
    ],
)
def test_runs_that_differ_are_not_averaged(tmp_path, changed, message):
    first = segmenter_run(tmp_path / "first")
    other = segmenter_run(tmp_path / "other", settings=dataclasses.replace(SEGMENTATION, **changed))
    with pytest.raises(VsudaError, match=rf"other: was trained otherwise than .*first.*{message}"):
        load_run(first, ensemble=[other])


def test_runs_of_crops_and_of_whole_scans_are_not_averaged(tmp_path):
    first = segmenter_run(tmp_path / "first", crops=True)
    other = segmenter_run(tmp_path / "other", crops=False)
    with pytest.raises(VsudaError, match="crops: False -> True"):
        load_run(first, ensemble=[other])
    assert load_run(first).crops
    assert not load_run(segmenter_run(tmp_path / "old")).crops


def test_an_image_goes_through_in_windows_or_on_demand_whole(tmp_path):
    folder = segmenter_run(tmp_path / "run")
    image = noise_image((40, 36, 14))
    windows = load_run(folder)(image, SAME)
    whole = load_run(folder, largest_pass=image.size)(image, SAME)
    assert np.array_equal(load_run(folder, largest_pass=image.size - 1)(image, SAME), windows)
    assert not np.array_equal(windows, whole)
    assert np.allclose(windows.sum(axis=-1), 1, atol=1e-5)
    # Statistics of windows are not those of the whole, but the picture is the same.
    assert np.corrcoef(windows.ravel(), whole.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(
    ("array", "problem"),
    [(np.zeros((4, 4)), r"\(4, 4\)"), (np.full((4, 4, 4), np.nan), "no finite")],
)
def test_what_is_no_image_is_refused(tmp_path, array, problem):
    with pytest.raises(VsudaError, match=problem):
        load_run(segmenter_run(tmp_path / "seg"))(array, SAME)
    with pytest.raises(VsudaError, match=problem):
        load_translator(translator_run(tmp_path / "gan"), "best", CPU)(array, SAME)


def test_a_constant_image_and_a_slab_of_one_slice_go_through(tmp_path):
    segment = load_run(segmenter_run(tmp_path / "run"))
    for image in (np.full((9, 9, 5), 7.0), noise_image((9, 9, 1)), noise_image((1, 5, 3))):
        found = segment(image, OTHER)
        assert found.shape == (*image.shape, 3)
        assert np.allclose(found.sum(axis=-1), 1, atol=1e-5)


def test_the_epoch_is_chosen(tmp_path):
    folder = segmenter_run(tmp_path / "run", seed=0, epoch=3)
    segmenter_run(folder, seed=1, epoch=7, best=False)
    image = noise_image()
    found = {one: load_run(folder, checkpoint=one)(image, SAME) for one in ("best", "3", "last")}
    assert np.array_equal(found["best"], found["3"])
    assert not np.array_equal(found["best"], found["last"])
    assert load_run(folder, checkpoint="last").members[0].epoch == 7
    with pytest.raises(VsudaError, match="no checkpoint of epoch 5; there are: 3, 7"):
        load_run(folder, checkpoint="5")


def test_a_run_of_the_other_kind_is_refused(tmp_path):
    seg, gan = segmenter_run(tmp_path / "seg"), translator_run(tmp_path / "gan")
    with pytest.raises(VsudaError, match="translate-train, which does not segment"):
        load_run(gan)
    with pytest.raises(VsudaError, match="seg-train, which does not translate"):
        load_translator(seg, "best", CPU)
    with pytest.raises(VsudaError, match="not a training run"):
        load_run(tmp_path)


@pytest.mark.parametrize("command", ["seg-train", "mt-train", "cutseg-train"])
def test_every_segmenting_commands_runs_load(tmp_path, command):
    kind = inference.SEGMENTERS[command]
    settings = kind(**{name: getattr(SEGMENTATION, name) for name in ("unet", "preprocessing")})
    folder = segmenter_run(tmp_path / "run", settings=settings, command=command)
    loaded = load_run(folder)
    assert type(loaded.settings) is kind
    assert not loaded.members[0].network.training
