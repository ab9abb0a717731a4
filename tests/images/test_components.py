"""The paper's rules of post-processing, in world space, whatever the array's order."""

import itertools
import tracemalloc

import numpy as np
import pytest

from vsuda_cli.images.components import (
    Rules,
    clean,
    clean_both_ears,
    find_components,
    holds_both_ears,
)
from vsuda_cli.images.cropping import mirror

CLASSES = ("VS", "cochlea")
AFFINE = np.array([[0.5, 0, 0, -40], [0, 0.5, 0, 10], [0, 0, 1.5, -30], [0, 0, 0, 1.0]])


def ear():
    """Tumour of 27 voxels, cochlea of 8, and a false tumour of 48, 24 mm above the cochlea."""
    labels = np.zeros((24, 20, 24), dtype=np.uint8)
    labels[4:7, 4:7, 4:7] = 1
    labels[12:14, 5:7, 4:6] = 2
    labels[3:7, 3:7, 19:22] = 1
    return labels


def test_high_tumour_is_dropped_before_the_largest_is_kept():
    cleaned, removed, remarks = clean(ear(), AFFINE, Rules(CLASSES))
    expected = ear()
    expected[:, :, 19:] = 0
    assert np.array_equal(cleaned, expected)
    assert [(one.structure, one.rule, one.voxels) for one in removed] == [("VS", "height", 48)]
    assert removed[0].mm3 == pytest.approx(48 * 0.375)
    assert "23.2 mm above the cochlea" in removed[0].detail
    assert remarks == []


@pytest.mark.parametrize("limit", [23.2, 23.3])
def test_the_limit_is_an_option(limit):
    cleaned, (removed,), _ = clean(ear(), AFFINE, Rules(CLASSES, max_above_mm=limit))
    dropped_high = limit == 23.2  # the centre lies 23.25 mm above
    assert removed.rule == ("height" if dropped_high else "largest")
    assert (cleaned[..., 19:] == 0).all() == dropped_high


@pytest.mark.parametrize(("above_mm", "stays"), [(22, True), (23, False)])
def test_the_default_limit_is_15_voxels_of_the_papers_grid(above_mm, stays):
    labels = np.zeros((4, 4, 30), dtype=np.uint8)
    labels[1, 1, 2], labels[1, 1, 2 + above_mm] = 2, 1
    cleaned, _, _ = clean(labels, np.eye(4), Rules(CLASSES))
    assert (cleaned == 1).any() == stays
    just, _, _ = clean(labels, np.eye(4), Rules(CLASSES, max_above_mm=above_mm))
    assert (just == 1).any()


def test_without_the_rule_the_largest_wins():
    cleaned, removed, remarks = clean(ear(), AFFINE, Rules(CLASSES, max_above_mm=None))
    assert (cleaned == 1).sum() == 48
    assert [one.rule for one in removed] == ["largest"]
    assert remarks == []


def test_no_cochlea_is_said_and_the_rule_skipped():
    labels = np.where(ear() == 2, 0, ear()).astype(np.uint8)
    cleaned, _, remarks = clean(labels, AFFINE, Rules(CLASSES))
    assert (cleaned == 1).sum() == 48
    assert remarks == ["no cochlea, the rule of height is skipped"]
    assert clean(np.zeros_like(labels), AFFINE, Rules(CLASSES))[1:] == ([], [])
    # Where there is no tumour either there is nothing to skip.
    canal = np.where(labels == 1, 3, 0).astype(np.uint8)
    assert clean(canal, AFFINE, Rules((*CLASSES, "canal")))[2] == []


@pytest.mark.parametrize("angle", [0, 40])
def test_tumours_far_from_the_cochlea_are_dropped(angle):
    # The near tumour's nearest voxel is 6 columns of 0.5 mm from the cochlea's; the high one's
    # nearest 6 columns, 1 row and 14 slices.
    turn = np.eye(4)
    turn[:2, :2] = [
        [np.cos(np.radians(angle)), -np.sin(np.radians(angle))],
        [np.sin(np.radians(angle)), np.cos(np.radians(angle))],
    ]
    affine = turn @ AFFINE
    far = float(np.linalg.norm([6 * 0.5, 0, 14 * 1.5]))
    for limit, near_kept, rules_seen in (
        (3.01, 27, ["distance"]),
        (2.99, 0, ["distance", "distance"]),
        (far + 0.01, 48, ["largest"]),
        (far - 0.01, 27, ["distance"]),
    ):
        rules = Rules(CLASSES, max_above_mm=None, max_distance_mm=limit)
        cleaned, removed, remarks = clean(ear(), affine, rules)
        assert (cleaned == 1).sum() == near_kept
        assert [one.rule for one in removed] == rules_seen
        assert remarks == []
    assert removed[0].detail == f"{far:.1f} mm from the cochlea"
    alone = np.where(ear() == 2, 0, ear()).astype(np.uint8)
    rules = Rules(CLASSES, max_distance_mm=1.0)
    assert clean(alone, affine, rules)[2] == [
        "no cochlea, the rule of height is skipped",
        "no cochlea, the rule of distance is skipped",
    ]


def test_height_is_measured_from_the_largest_cochlea():
    labels = ear()
    labels[20, 18, 22] = 2
    cleaned, removed, _ = clean(labels, AFFINE, Rules(CLASSES))
    assert (cleaned == 1).sum() == 27
    assert {(one.structure, one.rule) for one in removed} == {
        ("VS", "height"),
        ("cochlea", "largest"),
    }


def test_up_is_the_worlds_z_in_any_order_of_axes():
    expected, _, _ = clean(ear(), AFFINE, Rules(CLASSES))
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            turned = ear().transpose(order)[tuple(slice(None, None, f) for f in flips)]
            affine = AFFINE[:, [*order, 3]].copy()
            for axis, flip in enumerate(flips):
                if flip < 0:
                    affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
                    affine[:3, axis] *= -1
            cleaned, removed, _ = clean(turned, affine, Rules(CLASSES))
            back = cleaned[tuple(slice(None, None, f) for f in flips)]
            assert np.array_equal(back.transpose(np.argsort(order)), expected)
            assert [one.rule for one in removed] == ["height"]


def test_a_mirrored_crop_is_cleaned_alike():
    expected, _, _ = clean(ear(), AFFINE, Rules(CLASSES))
    cleaned, _, _ = clean(*mirror(ear(), AFFINE), Rules(CLASSES))
    assert np.array_equal(cleaned[::-1], expected)


def test_smallest_size_and_no_largest():
    rules = Rules(CLASSES, max_above_mm=None, keep_largest=False, smallest_mm3=5)
    cleaned, removed, _ = clean(ear(), AFFINE, rules)
    assert (cleaned == 1).sum() == 75
    assert [(one.structure, one.rule, one.voxels) for one in removed] == [
        ("cochlea", "smallest", 8)
    ]
    # What is too small is so whether or not there is a larger one.
    _, removed, _ = clean(ear(), AFFINE, Rules(CLASSES, max_above_mm=None, smallest_mm3=12))
    assert [one.rule for one in removed] == ["smallest", "smallest"]


def test_holes_are_filled_with_background_only():
    labels = np.zeros((12, 12, 12), dtype=np.uint8)
    labels[1:8, 1:8, 1:8] = 1
    labels[2, 2, 2], labels[5, 5, 5] = 0, 2
    cleaned, removed, _ = clean(labels, np.eye(4), Rules(CLASSES, fill_holes=True))
    assert cleaned[2, 2, 2] == 1
    assert cleaned[5, 5, 5] == 2
    assert [(one.rule, one.voxels) for one in removed] == [("holes", 1)]
    assert np.array_equal(clean(labels, np.eye(4), Rules(CLASSES))[0], labels)


def test_connectivity_decides_what_hangs_together():
    mask = np.zeros((4, 4, 4), dtype=np.bool_)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = True
    counts = {way: len(find_components(mask, np.eye(4), way)[1]) for way in (6, 18, 26)}
    assert counts == {6: 3, 18: 2, 26: 1}


def test_components_come_largest_first_with_world_centres():
    # Whichever of them lies first in the array.
    for labels in (ear(), ear()[::-1]):
        numbered, found = find_components(labels == 1, AFFINE, 26)
        assert [one.voxels for one in found] == [48, 27]
        for one in found:
            where = np.argwhere(numbered == one.number).mean(axis=0)
            assert np.allclose(one.centre_mm, AFFINE[:3, :3] @ where + AFFINE[:3, 3])


def test_whole_scan_is_cleaned_ear_by_ear():
    one = ear()
    gap = np.zeros((250, 20, 24), dtype=np.uint8)
    whole = np.concatenate([one, gap, one[::-1]])
    rules = Rules(CLASSES)
    assert holds_both_ears(whole.shape, AFFINE)
    assert not holds_both_ears(one.shape, AFFINE)
    # Also where the first axis runs to the left.
    assert holds_both_ears(whole.shape, np.diag([-1.0, 1, 1, 1]) @ AFFINE)
    cleaned, removed, _ = clean_both_ears(whole, AFFINE, rules)
    half, _, _ = clean(one, AFFINE, rules)
    assert np.array_equal(cleaned, np.concatenate([half, gap, half[::-1]]))
    assert sorted(one.detail.split(":")[0] for one in removed) == ["left", "right"]


def test_halves_meet_in_the_middle_of_the_field_of_view():
    labels = np.zeros((10, 9, 3), dtype=np.uint8)
    labels[4, 1, 1] = labels[5, 7, 1] = 1
    cleaned, removed, _ = clean_both_ears(labels, AFFINE, Rules(CLASSES))
    assert np.array_equal(cleaned, labels)
    assert not removed


def test_background_around_changes_nothing():
    labels = (np.random.default_rng(1).random((30, 24, 20)) < 0.2).astype(np.uint8)
    labels[10:14, 10:14, 8:11] = 2
    around = ((40, 50), (30, 1), (0, 60))
    padded, moved = np.pad(labels, around), AFFINE.copy()
    moved[:3, 3] -= AFFINE[:3, :3] @ [low for low, _ in around]
    rules = Rules(CLASSES, fill_holes=True, max_distance_mm=6)
    cleaned, removed, _ = clean(labels, AFFINE, rules)
    again, gone, _ = clean(padded, moved, rules)
    assert np.array_equal(again, np.pad(cleaned, around))
    assert [(one.rule, one.voxels) for one in gone] == [(one.rule, one.voxels) for one in removed]
    assert removed


def test_a_thousand_specks_take_no_time():
    labels = (np.random.default_rng(0).random((60, 60, 40)) < 0.05).astype(np.uint8)
    cleaned, removed, _ = clean(labels, np.eye(4), Rules(CLASSES, connectivity=6))
    assert len(removed) > 1000
    assert len(find_components(cleaned == 1, np.eye(4), 6)[1]) == 1


def test_specks_far_apart_take_no_memory_beside_their_map():
    mask = np.zeros((80, 80, 80), dtype=np.bool_)
    mask[::79, ::79, ::79] = True
    tracemalloc.start()
    numbered, found = find_components(mask, AFFINE, 26)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 8
    # The numbers of the whole and of the box, and the masks.
    assert most < 2.5 * numbered.nbytes
