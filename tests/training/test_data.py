"""Cases in memory, splits by subject, and patches drawn from them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsuda_cli.config import Augmentation, Preprocessing
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import parse_name
from vsuda_cli.io.nifti import save_image, save_label, save_probability
from vsuda_cli.training.data import (
    Batches,
    Item,
    PatchSampler,
    load_item,
    load_pseudo_item,
    split,
    subject_of,
)

CPU = torch.device("cpu")
STILL = Augmentation(rotation_degrees=0, scale=0)


def item(case: str, size: tuple[int, int, int] = (8, 7, 6), labelled: bool = True) -> Item:
    """A volume whose every voxel has its own value, so that a patch tells where it is from."""
    count = size[0] * size[1] * size[2]
    image = torch.arange(1, count + 1, dtype=torch.float32).view(1, *size) / count
    label = torch.zeros(size, dtype=torch.uint8)
    label[0, 0, 0] = 2
    label[4:7, 3:6, 1:4] = 1
    return Item(case, image, label if labelled else None, 0.5)


def place_of(patch: torch.Tensor, volume: torch.Tensor) -> tuple[int, ...]:
    """Return where a patch's first voxel lies in its volume."""
    flat = int((volume[0] - patch.flatten()[0]).abs().argmin())
    return tuple(int(i) for i in np.unravel_index(flat, volume.shape[1:]))


# ---- subjects and splits


@pytest.mark.parametrize(
    ("case", "subject"),
    [
        ("ldn_12_R", "ldn_12"),
        ("ldn_12_L_e080", "ldn_12"),
        ("ldn_12_e5", "ldn_12"),
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
    one = Item("", torch.zeros(1), None, 1.0)
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
    found = load_item(parse_name(image), label, preprocessing, 3, CPU)
    assert (found.case, found.subject, found.inplane_mm) == ("a_R", "a", 1.0)
    assert found.image.shape == (1, 16, 16, 4)
    assert (found.image.min(), found.image.max()) == (0, 1)
    assert found.label is not None
    assert found.label.shape == (16, 16, 4)
    assert found.label.dtype == torch.uint8
    assert (found.label[5:11, 5:11] == 2).all()
    assert set(found.label.unique().tolist()) == {0, 2}
    assert load_item(parse_name(image), None, preprocessing, 3, CPU).label is None


def test_a_label_elsewhere_or_out_of_range_is_refused(tmp_path: Path) -> None:
    image, label = write_case(tmp_path)
    with pytest.raises(VsudaError, match="holds label 2"):
        load_item(parse_name(image), label, Preprocessing(), 2, CPU)
    write_case(tmp_path, shift=1e-8)
    load_item(parse_name(image), label, Preprocessing((1, 1, 3)), 3, CPU)
    write_case(tmp_path, shift=1)
    with pytest.raises(VsudaError, match=r"a_R_Label.*is on another grid than a_R_T2"):
        load_item(parse_name(image), label, Preprocessing(), 3, CPU)


# ---- patches


@pytest.mark.parametrize("augmentation", [None, STILL])
def test_a_patch_is_a_piece_of_its_volume(augmentation: Augmentation | None) -> None:
    one = item("a")
    sampler = PatchSampler([one], (4, 3, 2), 2, augmentation, 0)
    places = set()
    for _ in range(30):
        images, labels = sampler.draw()
        assert images.shape == (2, 1, 4, 3, 2)
        assert labels is not None
        assert labels.shape == (2, 4, 3, 2)
        assert labels.dtype == torch.uint8
        for image, label in zip(images, labels, strict=True):
            x, y, z = place_of(image, one.image)
            places.add((x, y, z))
            piece = (slice(x, x + 4), slice(y, y + 3), slice(z, z + 2))
            torch.testing.assert_close(image[0], one.image[0][piece], atol=1e-5, rtol=0)
            assert one.label is not None
            assert torch.equal(label, one.label[piece])
    assert len(places) > 20
    # Patches reach every border and no further.
    for axis, last in enumerate((4, 4, 4)):
        assert {0, last} <= {place[axis] for place in places}


@pytest.mark.parametrize("augmentation", [None, STILL])
def test_a_patch_larger_than_the_volume_is_padded(augmentation: Augmentation | None) -> None:
    one = item("a", (8, 7, 6))
    images, labels = PatchSampler([one], (12, 7, 9), 1, augmentation, 0).draw()
    inside = (slice(2, 10), slice(0, 7), slice(1, 7))
    torch.testing.assert_close(images[0, 0][inside], one.image[0], atol=1e-5, rtol=0)
    assert labels is not None
    assert one.label is not None
    assert torch.equal(labels[0][inside], one.label)
    outside = torch.ones(images.shape[2:], dtype=torch.bool)
    outside[inside] = False
    assert images[0, 0][outside].abs().max() < 1e-6
    assert labels[0][outside].max() == 0


def test_patches_one_voxel_thick_are_slices() -> None:
    one = item("a")
    images, labels = PatchSampler([one], (8, 7, 1), 3, None, 0).draw()
    assert images.shape == (3, 1, 8, 7)
    assert labels is not None
    assert labels.shape == (3, 8, 7)
    z = place_of(images[0], one.image)[2]
    assert torch.equal(images[0, 0], one.image[0, :, :, z])
    assert PatchSampler([item("b", labelled=False)], (8, 7, 1), 1, None, 0).draw()[1] is None


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_every_item_comes_once_before_any_comes_again(batch_size: int) -> None:
    items = [Item(f"c{i}", torch.full((1, 2, 2, 2), i / 10), None, 1.0) for i in range(5)]
    sampler = PatchSampler(items, (2, 2, 2), batch_size, None, 3)
    drawn = torch.cat([sampler.draw()[0] for _ in range(20)])[:, 0, 0, 0, 0]
    rounds = (drawn * 10).round().int().view(-1, 5)
    for one in rounds:
        assert sorted(one.tolist()) == [0, 1, 2, 3, 4]
    assert len({tuple(one.tolist()) for one in rounds}) > 1


def test_the_wanted_share_of_patches_is_centred_on_labels() -> None:
    # Two labelled voxels in a volume that a random patch of this size hits in under 1 %.
    size = (40, 40, 20)
    label = torch.zeros(size, dtype=torch.uint8)
    label[10, 10, 10], label[30, 30, 10] = 1, 2
    one = Item("a", torch.zeros((1, *size)), label, 1.0)
    shares = {}
    for foreground in (0.0, 0.5, 1.0):
        augmentation = dataclasses.replace(STILL, foreground=foreground)
        sampler = PatchSampler([one], (6, 6, 6), 1, augmentation, 0)
        seen = []
        for _ in range(150):
            labels = sampler.draw()[1]
            assert labels is not None
            seen.append(int(labels.max()))
        shares[foreground] = [seen.count(value) / 150 for value in (0, 1, 2)]
    assert shares[0.0][0] > 0.95
    assert shares[1.0][0] == 0
    assert abs(shares[0.5][0] - 0.5) < 0.15
    # Both classes alike, however small.
    assert abs(shares[1.0][1] - 0.5) < 0.15


def test_a_label_map_without_labels_gives_patches_all_the_same() -> None:
    empty = Item("a", torch.zeros(1, 4, 4, 4), torch.zeros((4, 4, 4), dtype=torch.uint8), 1.0)
    labels = PatchSampler([empty], (2, 2, 2), 1, STILL, 0).draw()[1]
    assert labels is not None
    assert labels.shape == (1, 2, 2, 2)


def test_a_seed_repeats_the_patches() -> None:
    items = [item("a"), item("b")]
    draws = [
        [PatchSampler(items, (4, 4, 4), 1, Augmentation(), seed).draw()[0] for _ in range(2)]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0][0], draws[1][0])
    assert not torch.equal(draws[0][0], draws[2][0])


@pytest.mark.parametrize("draws", [0, 1, 4])
def test_batches_continue_where_their_state_was_taken(draws: int, tmp_path: Path) -> None:
    def batches() -> Batches:
        labelled = [item(f"a{i}") for i in range(3)]
        unlabelled = [item(f"b{i}", labelled=False) for i in range(5)]
        return Batches(
            {
                "labelled": PatchSampler(labelled, (4, 4, 4), 2, Augmentation(), 0),
                "unlabelled": PatchSampler(unlabelled, (4, 4, 4), 1, Augmentation(), 1),
            }
        )

    one, other = batches(), batches()
    assert one.cases() == 5
    assert one.case_ids() == ["a0", "a1", "a2", "b0", "b1", "b2", "b3", "b4"]
    for _ in range(draws):
        one.draw()
    torch.save(one.state_dict(), tmp_path / "state")
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for _ in range(3):
        ours, theirs = one.draw(), other.draw()
        assert set(ours) == {"labelled", "labelled_label", "unlabelled"}
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]), name


# ---- pseudo-labels


def probability_files(folder: Path, classes: int = 3) -> tuple[Path, Path]:
    image, maps = folder / "a_hrT2.nii.gz", folder / "a_Probability.nii.gz"
    array = np.random.default_rng(0).random((6, 5, 4))
    save_image(image, array, np.diag([1.0, 1.0, 1.5, 1.0]))
    found = np.zeros((6, 5, 4, classes))
    found[..., 0] = 1
    found[:2, ..., :2] = (0.1, 0.9)
    found[2, ..., :2] = (0.45, 0.55)
    save_probability(maps, found, np.diag([1.0, 1.0, 1.5, 1.0]))
    return image, maps


def test_sure_predictions_become_labels_and_unsure_voxels_are_never_a_centre(
    tmp_path: Path,
) -> None:
    image, maps = probability_files(tmp_path)
    preprocessing = Preprocessing(spacing_mm=(1.0, 1.0, 1.5))
    found = load_pseudo_item(parse_name(image), maps, preprocessing, 3, 0.8, CPU)
    assert found.label is not None
    assert found.label[:, 0, 0].tolist() == [1, 1, 255, 0, 0, 0]
    sampler = PatchSampler([found], (3, 3, 3), 1, dataclasses.replace(STILL, foreground=1.0), 0)
    for _ in range(20):
        _, label = sampler.draw()
        # The centre moves by half a voxel at most: a labelled voxel is near, whatever is unsure.
        assert label is not None and (label == 1).any()


def test_maps_of_other_classes_are_refused(tmp_path: Path) -> None:
    image, maps = probability_files(tmp_path, classes=4)
    with pytest.raises(VsudaError, match="4 classes"):
        load_pseudo_item(parse_name(image), maps, Preprocessing(), 3, 0.8, CPU)


def test_maps_on_another_grid_are_refused(tmp_path: Path) -> None:
    image, maps = probability_files(tmp_path)
    save_image(image, np.ones((6, 5, 5)), np.eye(4))
    with pytest.raises(VsudaError, match="another grid"):
        load_pseudo_item(parse_name(image), maps, Preprocessing(), 3, 0.8, CPU)
