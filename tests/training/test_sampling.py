"""Patches drawn from cases: where from, how often, turned, scaled, and continued."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_items import item
from torch.nn import functional

from vsuda_cli.config import Augmentation
from vsuda_cli.training import ranks
from vsuda_cli.training.data import Item
from vsuda_cli.training.sampling import Batches, PatchSampler, Place, box_size, cut, patch_grids

CPU = torch.device("cpu")
STILL = Augmentation(rotation_degrees=0, scale=0)


def place_of(patch: torch.Tensor, volume: torch.Tensor) -> tuple[int, ...]:
    """Return where a patch's first voxel lies in its volume."""
    flat = int((volume[0] - patch.flatten()[0]).abs().argmin())
    return tuple(int(i) for i in np.unravel_index(flat, volume.shape[1:]))


@pytest.mark.parametrize("augmentation", [None, STILL])
def test_a_patch_is_a_piece_of_its_volume(augmentation: Augmentation | None) -> None:
    one = item("a")
    sampler = PatchSampler([one], (4, 3, 2), 2, augmentation, 0, CPU)
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
    images, labels = PatchSampler([one], (12, 7, 9), 1, augmentation, 0, CPU).draw()
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
    images, labels = PatchSampler([one], (8, 7, 1), 3, None, 0, CPU).draw()
    assert images.shape == (3, 1, 8, 7)
    assert labels is not None
    assert labels.shape == (3, 8, 7)
    z = place_of(images[0], one.image)[2]
    assert torch.equal(images[0, 0], one.image[0, :, :, z])
    assert PatchSampler([item("b", labelled=False)], (8, 7, 1), 1, None, 0, CPU).draw()[1] is None


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_every_item_comes_once_before_any_comes_again(batch_size: int) -> None:
    items = [Item(f"c{i}", torch.full((1, 2, 2, 2), i / 10), None) for i in range(5)]
    sampler = PatchSampler(items, (2, 2, 2), batch_size, None, 3, CPU)
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
    one = Item("a", torch.zeros((1, *size)), label)
    shares = {}
    for foreground in (0.0, 0.5, 1.0):
        augmentation = dataclasses.replace(STILL, foreground=foreground)
        sampler = PatchSampler([one], (6, 6, 6), 1, augmentation, 0, CPU)
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


def test_patches_are_centred_on_all_voxels_of_a_class() -> None:
    label = torch.zeros((20, 20, 9), dtype=torch.uint8)
    label[4, 4, 4] = label[15, 15, 4] = 1
    one = Item("a", torch.arange(3600.0).view(1, 20, 20, 9), label)
    chosen = dataclasses.replace(STILL, foreground=1.0, foreground_spread=0.0)
    sampler = PatchSampler([one], (3, 3, 3), 1, chosen, 0, CPU)
    middles = {round(float(sampler.draw()[0][0, 0, 1, 1, 1])) for _ in range(20)}
    assert middles == {int(one.image[0, n, n, 4]) for n in (4, 15)}


def test_patches_are_not_centred_on_what_nothing_is_known_of() -> None:
    label = torch.full((30, 30, 30), 255, dtype=torch.uint8)
    label[:, :, :2], label[15, 15, 15] = 0, 1
    sampler = PatchSampler(
        [Item("a", torch.zeros(1, 30, 30, 30), label)],
        (3, 3, 3),
        1,
        dataclasses.replace(STILL, foreground=1.0, foreground_spread=0.0),
        0,
        CPU,
    )
    for _ in range(10):
        labels = sampler.draw()[1]
        assert labels is not None and labels[0, 1, 1, 1] == 1


@pytest.mark.parametrize(("spread", "first", "last"), [(0.0, 10, 10), (0.5, 5, 15), (1.0, 0, 20)])
def test_a_labelled_voxel_lies_in_the_wanted_part_of_its_patch(
    spread: float, first: int, last: int
) -> None:
    label = torch.zeros((80, 80, 80), dtype=torch.uint8)
    label[40, 40, 40] = 1
    one = Item("a", torch.zeros(1, 80, 80, 80), label)
    augmentation = dataclasses.replace(STILL, foreground=1.0, foreground_spread=spread)
    sampler = PatchSampler([one], (21, 21, 21), 1, augmentation, 0, CPU)
    drawn = [sampler.draw()[1] for _ in range(120)]
    places = torch.cat([labels[0].nonzero() for labels in drawn if labels is not None])
    assert len(places) >= 0.9 * 120
    assert abs(int(places.min()) - first) <= 1
    assert abs(int(places.max()) - last) <= 1


def test_a_label_map_without_labels_gives_patches_all_the_same() -> None:
    empty = Item("a", torch.zeros(1, 4, 4, 4), torch.zeros((4, 4, 4), dtype=torch.uint8))
    labels = PatchSampler([empty], (2, 2, 2), 1, STILL, 0, CPU).draw()[1]
    assert labels is not None
    assert labels.shape == (1, 2, 2, 2)


def test_a_seed_repeats_the_patches() -> None:
    items = [item("a"), item("b")]
    draws = [
        [PatchSampler(items, (4, 4, 4), 1, Augmentation(), seed, CPU).draw()[0] for _ in range(2)]
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
                "labelled": PatchSampler(labelled, (4, 4, 4), 2, Augmentation(), 0, CPU),
                "unlabelled": PatchSampler(unlabelled, (4, 4, 4), 1, Augmentation(), 1, CPU),
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


# ---- turned and scaled


def on_whole_volume(one: Item, place: Place, size: tuple[int, int, int]) -> torch.Tensor:
    """The patch of a place, interpolated in the whole volume, voxel for voxel."""
    centre, angle, zoom = place.centre, place.angle_radians, place.zoom
    patch = torch.zeros(size)
    padded = functional.pad(one.image[0], (20,) * 6).double()
    for where in np.ndindex(*size):
        x, y, z = (i - (n - 1) / 2 for i, n in zip(where, size, strict=True))
        point = (
            centre[0] + zoom * (math.cos(angle) * x - math.sin(angle) * y) + 20,
            centre[1] + zoom * (math.sin(angle) * x + math.cos(angle) * y) + 20,
            centre[2] + z + 20,
        )
        low = [math.floor(p + 1e-9) for p in point]
        for corner in np.ndindex(2, 2, 2):
            weight = 1.0
            for p, a, c in zip(point, low, corner, strict=True):
                weight *= max(0.0, 1 - abs(p - a - c))
            if weight > 0:
                voxel = tuple(a + c for a, c in zip(low, corner, strict=True))
                patch[where] += weight * float(padded[voxel])
    return patch


@pytest.mark.parametrize("size", [(6, 5, 3), (12, 9, 8)])
def test_turned_patches_equal_plain_interpolation_in_the_whole_volume(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int, int]
) -> None:
    items = [item("a", (11, 9, 7)), item("b", (8, 12, 6))]
    ranges = Augmentation(rotation_degrees=40, scale=0.3)
    sampler = PatchSampler(items, size, 3, ranges, 0, CPU)
    places: list[Place] = []
    drawn = sampler._place

    def remembered() -> Place:
        places.append(drawn())
        return places[-1]

    monkeypatch.setattr(sampler, "_place", remembered)
    images, _ = sampler.draw()
    assert len({place.angle_radians for place in places}) == 3
    for image, place in zip(images, places, strict=True):
        wanted = on_whole_volume(items[place.item], place, size)
        torch.testing.assert_close(image[0], wanted, atol=2e-5, rtol=0)


def test_turn_and_scale_stay_in_plane_and_within_their_ranges() -> None:
    one = item("a", (21, 21, 11))
    sampler = PatchSampler(
        [one], (3, 3, 3), 1, Augmentation(rotation_degrees=30, scale=0.2), 0, CPU
    )
    places = [sampler._place() for _ in range(200)]
    angles = [math.degrees(place.angle_radians) for place in places]
    zooms = [place.zoom for place in places]
    assert -30 <= min(angles) < -20 and 20 < max(angles) <= 30
    assert 0.8 <= min(zooms) < 0.85 and 1.15 < max(zooms) <= 1.2
    rows = torch.tensor([[4.0, 5.0, 2.0, math.radians(90), 1.5]])
    grid = patch_grids(rows, (3, 3, 3), (11, 11, 5))
    voxels = (grid[0].flip(-1) + 1) / 2 * torch.tensor([10.0, 10.0, 4.0])
    torch.testing.assert_close(voxels[1, 1, 1], torch.tensor([4.0, 5.0, 2.0]))
    # A quarter turn: the patch's x axis runs along the volume's y axis, half as long again.
    torch.testing.assert_close(voxels[2, 1, 1], torch.tensor([4.0, 6.5, 2.0]))
    torch.testing.assert_close(voxels[1, 1, 2], torch.tensor([4.0, 5.0, 3.0]))


@pytest.mark.parametrize(("degrees", "scale"), [(0, 0), (10, 0.1), (45, 0.5), (180, 0)])
def test_a_box_holds_all_that_a_patch_may_reach(degrees: float, scale: float) -> None:
    size, ranges = (8, 5, 3), Augmentation(rotation_degrees=degrees, scale=scale)
    box = box_size(size, ranges)
    for share in np.linspace(-1, 1, 41):
        row = [*(n // 2 + 0.999 for n in box), math.radians(degrees) * share, 1 + scale]
        voxels = (patch_grids(torch.tensor([row]), size, box).flip(-1) + 1) / 2
        assert voxels.min() >= 0 and voxels.max() <= 1


def test_a_block_outside_the_volume_is_empty() -> None:
    volume = torch.ones(1, 3, 3, 3)
    assert torch.equal(cut(volume, (5, -9, 0), (2, 2, 2)), torch.zeros(1, 2, 2, 2))
    assert cut(volume, (2, -1, 0), (2, 2, 2)).sum() == 2


# ---- several processes


@pytest.mark.parametrize("ranges", [None, Augmentation()])
def test_processes_share_the_patches_of_one(
    monkeypatch: pytest.MonkeyPatch, ranges: Augmentation | None
) -> None:
    items = [item(name) for name in "abcde"]
    whole = PatchSampler(items, (4, 4, 4), 6, ranges, 0, CPU)
    wanted = [whole.draw() for _ in range(3)]
    monkeypatch.setattr(ranks, "count", lambda: 3)
    shares = []
    for number in range(3):
        monkeypatch.setattr(ranks, "own", lambda number=number: number)
        sampler = PatchSampler(items, (4, 4, 4), 2, ranges, 0, CPU)
        shares.append([sampler.draw() for _ in range(3)])
    for draw, (images, labels) in enumerate(wanted):
        assert torch.equal(torch.cat([share[draw][0] for share in shares]), images)
        assert torch.equal(torch.cat([share[draw][1] for share in shares]), labels)
