"""Cases in memory and splits by subject."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_items import item

from vsuda_cli.config import Augmentation, Preprocessing
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import parse_name
from vsuda_cli.io.nifti import save_fractions, save_image, save_label
from vsuda_cli.training.data import (
    Item,
    fits,
    keep_near,
    load_item,
    load_pseudo_item,
    split,
    subject_of,
)
from vsuda_cli.training.sampling import PatchSampler

# ---- subjects and splits


@pytest.mark.parametrize(
    ("case", "subject"),
    [
        ("ldn_12_R", "ldn_12"),
        ("ldn_12_L_e080", "ldn_12"),
        ("ldn_12_e5", "ldn_12"),
        ("ldn_12_R_e001_e080", "ldn_12"),
        ("ldn_12", "ldn_12"),
        ("a_R_b", "a_R_b"),
        ("a_Rb", "a_Rb"),
        ("case_end", "case_end"),
    ],
)
def test_ears_and_checkpoints_belong_to_their_subject(case: str, subject: str) -> None:
    assert subject_of(case) == subject
    assert item(case).subject == subject


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    subjects=st.integers(2, 12),
    ears=st.lists(st.sampled_from(["", "_R", "_L", "_R_e005", "_L_e010"]), min_size=1, unique=True),
    fraction=st.floats(0.01, 0.6),
    seed=st.integers(0, 5),
)
def test_a_split_never_divides_a_subject(
    subjects: int, ears: list[str], fraction: float, seed: int
) -> None:
    one = Item("", torch.zeros(1), None)
    items = [dataclasses.replace(one, case=f"s{i}{ear}") for i in range(subjects) for ear in ears]
    wanted = max(1, round(fraction * subjects))
    if wanted >= subjects:
        with pytest.raises(VsudaError, match="too few for a validation split"):
            split(items, fraction, seed)
        return
    training, kept = split(items, fraction, seed)
    ours, theirs = ({x.subject for x in part} for part in (training, kept))
    assert not ours & theirs
    assert len(theirs) == wanted
    assert sorted(x.case for x in training + kept) == sorted(x.case for x in items)
    again = split(items[::-1], fraction, seed)
    assert {x.subject for x in again[1]} == theirs


def test_the_seed_chooses_the_split_and_0_keeps_all() -> None:
    items = [item(f"s{i:02d}", (1, 1, 1), labelled=False) for i in range(20)]
    chosen = {tuple(x.case for x in split(items, 0.2, seed)[1]) for seed in range(5)}
    assert len(chosen) > 1
    assert split(items, 0, 0) == (items, [])


# ---- loading


def write_case(folder: Path, shift: float = 0) -> tuple[Path, Path]:
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    array = np.random.default_rng(0).uniform(1, 9, (8, 8, 4)).astype(np.float32)
    label = np.zeros((8, 8, 4), np.uint8)
    label[2:6, 2:6] = 2
    save_image(folder / "a_R_T2.nii.gz", array, affine)
    moved = affine.copy()
    moved[0, 3] += shift
    save_label(folder / "a_R_Label.nii.gz", label, moved)
    return folder / "a_R_T2.nii.gz", folder / "a_R_Label.nii.gz"


def test_a_case_is_loaded_on_the_training_grid(tmp_path: Path) -> None:
    image, label = write_case(tmp_path)
    preprocessing = Preprocessing((0.5, 0.5, 3.0))
    found = load_item(parse_name(image), label, preprocessing, 3)
    assert (found.case, found.subject) == ("a_R", "a")
    assert found.image.shape == (1, 16, 16, 4)
    assert (found.image.min(), found.image.max()) == (0, 1)
    assert found.label is not None
    assert found.label.shape == (16, 16, 4)
    assert found.label.dtype == torch.uint8
    assert (found.label[5:11, 5:11] == 2).all()
    assert set(found.label.unique().tolist()) == {0, 2}
    assert load_item(parse_name(image), None, preprocessing, 3).label is None


def test_a_label_map_is_brought_to_its_images_grid(tmp_path: Path) -> None:
    """31 slices of 0.75 mm make 15.5 of 1.5 mm: the last digits of an affine decide."""
    affine = np.diag([0.6, 0.6, 0.75, 1.0])
    other = affine.copy()
    other[2, 2] *= 1 - 1e-6
    case = tmp_path / "a_ceT1.nii.gz"
    to = Preprocessing(spacing_mm=(0.6, 0.6, 1.5))
    for mine, theirs in ((affine, other), (other, affine)):
        save_image(case, np.random.default_rng(0).random((8, 8, 31)), mine)
        save_label(tmp_path / "a_Label.nii.gz", np.ones((8, 8, 31)), theirs)
        maps = np.zeros((8, 8, 31, 3), np.float32)
        maps[..., 1] = 1
        save_fractions(tmp_path / "a_Probability.nii.gz", maps, theirs)
        image = parse_name(case)
        found = load_item(image, tmp_path / "a_Label.nii.gz", to, 3)
        assert found.label is not None and found.label.shape == found.image.shape[1:]
        path = tmp_path / "a_Probability.nii.gz"
        guessed = load_pseudo_item(image, path, to, 3, 0.5, keep_guess=True)
        assert guessed.label is not None and guessed.guess is not None
        assert guessed.label.shape == guessed.guess.shape[1:] == found.image.shape[1:]


def test_a_label_elsewhere_or_out_of_range_is_refused(tmp_path: Path) -> None:
    image, label = write_case(tmp_path)
    with pytest.raises(VsudaError, match="holds label 2"):
        load_item(parse_name(image), label, Preprocessing(), 2)
    write_case(tmp_path, shift=1e-8)
    load_item(parse_name(image), label, Preprocessing((1, 1, 3)), 3)
    write_case(tmp_path, shift=1)
    with pytest.raises(VsudaError, match=r"a_R_Label.*is on another grid than a_R_T2"):
        load_item(parse_name(image), label, Preprocessing(), 3)


# ---- memory


def test_cases_go_to_the_device_while_they_leave_room_for_the_networks() -> None:
    assert fits(4 * 2**30, 10 * 2**30)
    assert not fits(5 * 2**30, 10 * 2**30)


def test_on_the_cpu_cases_stay_where_they_are() -> None:
    items = [item("a"), item("b", labelled=False)]
    assert keep_near(items, torch.device("cpu")) is items


@pytest.mark.parametrize("free_bytes", [2**40, 1])
def test_cases_that_do_not_fit_on_a_gpu_stay_in_page_locked_memory(
    monkeypatch: pytest.MonkeyPatch, free_bytes: int
) -> None:
    moves: list[str] = []

    def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        moves.append(str(device))
        return tensor

    def locked(tensor: torch.Tensor) -> torch.Tensor:
        moves.append("locked")
        return tensor

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_bytes, 2**40))
    monkeypatch.setattr(torch.Tensor, "to", sent)
    monkeypatch.setattr(torch.Tensor, "pin_memory", locked)
    kept = keep_near([item("a"), item("b", labelled=False)], torch.device("cuda:1"))
    assert moves == (["cuda:1"] if free_bytes > 1 else ["locked"]) * 3
    assert [one.case for one in kept] == ["a", "b"]


# ---- pseudo-labels


def probability_files(folder: Path, classes: int = 3) -> tuple[Path, Path]:
    image, maps = folder / "a_hrT2.nii.gz", folder / "a_Probability.nii.gz"
    array = np.random.default_rng(0).random((6, 5, 4))
    save_image(image, array, np.diag([1.0, 1.0, 1.5, 1.0]))
    found = np.zeros((6, 5, 4, classes))
    found[..., 0] = 1
    found[:2, ..., :2] = (0.1, 0.9)
    found[2, ..., :2] = (0.45, 0.55)
    save_fractions(maps, found, np.diag([1.0, 1.0, 1.5, 1.0]))
    return image, maps


def test_sure_predictions_become_labels_and_unsure_voxels_are_never_a_centre(
    tmp_path: Path,
) -> None:
    image, maps = probability_files(tmp_path)
    preprocessing = Preprocessing(spacing_mm=(1.0, 1.0, 1.5))
    found = load_pseudo_item(parse_name(image), maps, preprocessing, 3, 0.8, keep_guess=True)
    assert found.label is not None and found.guess is not None
    torch.testing.assert_close(found.guess[1, :, 0, 0], torch.tensor([0.9, 0.9, 0.55, 0, 0, 0]))
    assert found.label[:, 0, 0].tolist() == [1, 1, 255, 0, 0, 0]
    only_labels = Augmentation(rotation_degrees=0, scale=0, foreground=1.0)
    sampler = PatchSampler([found], (3, 3, 3), 1, only_labels, 0, torch.device("cpu"))
    for _ in range(20):
        _, label = sampler.draw()
        # The centre moves by half a voxel at most: a labelled voxel is near, whatever is unsure.
        assert label is not None and (label == 1).any()


def test_guesses_where_the_intensity_says_no_are_dropped(tmp_path: Path) -> None:
    image, maps = probability_files(tmp_path)
    array = np.ones((6, 5, 4))
    array[1:] = 0.1
    save_image(image, array, np.diag([1.0, 1.0, 1.5, 1.0]))
    preprocessing = Preprocessing(spacing_mm=(1.0, 1.0, 1.5), percentiles=(0.0, 100.0))
    bright = ((0.7, 1.0), (0.7, 1.0))
    found = load_pseudo_item(
        parse_name(image), maps, preprocessing, 3, 0.8, keep_guess=True, ranges=bright
    )
    assert found.label is not None and found.guess is not None
    assert found.label[:, 2, 0].tolist() == [1, 255, 255, 0, 0, 0]
    torch.testing.assert_close(found.guess[1, :, 2, 0], torch.tensor([0.9, 0, 0, 0, 0, 0]))


def test_maps_of_other_classes_are_refused(tmp_path: Path) -> None:
    image, maps = probability_files(tmp_path, classes=4)
    with pytest.raises(VsudaError, match="4 classes"):
        load_pseudo_item(parse_name(image), maps, Preprocessing(), 3, 0.8, keep_guess=False)


def test_maps_on_another_grid_are_refused(tmp_path: Path) -> None:
    image, maps = probability_files(tmp_path)
    save_image(image, np.ones((6, 5, 5)), np.eye(4))
    with pytest.raises(VsudaError, match="another grid"):
        load_pseudo_item(parse_name(image), maps, Preprocessing(), 3, 0.8, keep_guess=False)
