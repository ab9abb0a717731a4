"""Lesions vary within limits, and nothing else in their crop does."""

import numpy as np
import pytest
import torch

from vsuda_cli.training import varied_lesions
from vsuda_cli.training.data import Item
from vsuda_cli.training.lesions import Lesion, whole_lesions
from vsuda_cli.training.varied_lesions import varied

CENTRE = torch.tensor([29.5, 29.5, 9.5])


def lesion() -> Lesion:
    """A bar along x of label 1, brighter towards larger x, beside anatomy of label 2."""
    label = torch.zeros((60, 60, 20), dtype=torch.uint8)
    label[20:40, 26:34, 8:12], label[44:48, 28:32, 8:12] = 1, 2
    image = torch.linspace(0, 1, 60).view(60, 1, 1).expand(60, 60, 20).clone()
    (found,) = whole_lesions([Item("case_1_R", image[None], label)], [1])
    return found


def only(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    for name in ("TURN_DEGREES", "SCALE", "MOVE"):
        least = 1.0 if name == "SCALE" else 0.0
        monkeypatch.setattr(varied_lesions, f"LARGEST_{name}", limits.get(name, least))


def test_without_limits_to_use_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    before = lesion()
    after = varied(before, [1], np.random.default_rng(0))
    assert torch.equal(after.voxels, before.voxels)
    assert torch.equal(after.item.label, before.item.label)
    torch.testing.assert_close(after.item.image, before.item.image)


def test_a_lesion_far_from_even_about_its_centre_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch)
    label = torch.zeros((60, 60, 20), dtype=torch.uint8)
    label[8:20, 24:36, 6:14], label[20:44, 29:31, 9:11] = 1, 1
    before = Lesion(Item("case_1_R", torch.rand((1, 60, 60, 20)), label), label.nonzero(), CENTRE)
    after = varied(before, [1], np.random.default_rng(0))
    assert torch.equal(after.voxels, before.voxels)


def test_size_direction_and_place_stay_within_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    before, rng = lesion(), np.random.default_rng(0)
    middle = before.voxels.float().mean(dim=0)
    only(monkeypatch, SCALE=1.4)
    sizes = [len(varied(before, [1], rng).voxels) / len(before.voxels) for _ in range(40)]
    # To the third power, and to whole slices of four.
    assert 0.2 < min(sizes) < 0.6 and 1.7 < max(sizes) < 3.6
    only(monkeypatch, MOVE=0.15)
    moves = [varied(before, [1], rng).voxels.float().mean(dim=0) - middle for _ in range(40)]
    # Of 20, 8 and 4 voxels, and to whole ones.
    furthest = torch.stack(moves).abs().amax(dim=0)
    assert (furthest > torch.tensor([2.0, 0.9, 0.0])).all()
    assert (furthest <= torch.tensor([3.5, 1.7, 1.1])).all()
    only(monkeypatch, TURN_DEGREES=20.0)
    turns = []
    for _ in range(40):
        x, y, z = varied(before, [1], rng).voxels.float().T
        assert sorted(set(z.tolist())) == [8, 9, 10, 11]
        turns.append(float(np.degrees(np.arctan(np.polyfit(x, y, 1)[0]))))
    assert -24 < min(turns) < -10 and 10 < max(turns) < 24


def test_texture_goes_with_it_and_anatomy_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, SCALE=1.4, TURN_DEGREES=20.0, MOVE=0.15)
    before, rng = lesion(), np.random.default_rng(1)
    for _ in range(20):
        after = varied(before, [1], rng)
        label, image = after.item.label, after.item.image[0]
        assert label is not None and before.item.label is not None
        assert torch.equal(label == 2, before.item.label == 2)
        assert (label[tuple(after.voxels.T)] == 1).all() and (label == 1).sum() == len(after.voxels)
        shown = image[tuple(after.voxels.T)]
        # The bar's own brightness, from one end to the other, wherever it lies now.
        assert shown.min() == pytest.approx(20 / 59, abs=0.02)
        assert 0.55 < shown.max() < 40 / 59 + 0.01
    assert torch.equal(before.item.image, lesion().item.image)
