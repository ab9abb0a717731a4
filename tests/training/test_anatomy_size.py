"""Anatomy is labelled as large as in labelled crops, however large it is guessed."""

import pytest
import torch
from torch import Tensor

from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training.anatomy_size import with_sized_anatomy
from vsuda_cli.training.data import Item, label_of

SIZE = (20, 20, 4)


def labelled(width: int) -> Item:
    label = torch.zeros(SIZE, dtype=torch.uint8)
    label[8 : 8 + width, 8:12, 1:3] = 2
    return Item("a_R", torch.zeros(1, *SIZE), label)


def guessed(strength: float) -> Item:
    """Return a crop whose anatomy is less probable from x = 2 on, and a speck of it elsewhere."""
    guess = torch.zeros(3, *SIZE)
    falling = torch.linspace(1, 0.2, 12).view(12, 1, 1)
    guess[2, 2:14, 8:12, 1:3] = strength * falling
    guess[2, 18, 2, 0] = strength
    guess[1, 2:14, 2:5] = 0.9
    label = torch.full(SIZE, 255, dtype=torch.uint8)
    return Item("t_R", torch.zeros(1, *SIZE), label, guess)


def sized(items: list[Item], sources: list[Item], margin_mm: float = 0.0) -> list[Tensor]:
    found = with_sized_anatomy(items, sources, [2], spacing_mm=(1, 1, 1.5), margin_mm=margin_mm)
    return [label_of(item) for item in found]


@pytest.mark.parametrize("width", [2, 4])
def test_items_together_get_the_mean_size_of_labelled_ones(width: int) -> None:
    sources = [labelled(width - 1), labelled(width + 1)]
    labels = sized([guessed(1.0), guessed(0.999)], sources)
    for label in labels:
        assert set(label.unique().tolist()) == {0, 2, IGNORED}
        # From the most probable on; the speck is as probable, and no part of the largest component.
        assert (label == 2).nonzero()[:, 0].min() == 2
        assert label[18, 2, 0] == IGNORED
    # A slice of one item is as probable as the next, so the counts are whole slices.
    sure = sum(int((label == 2).sum()) for label in labels)
    possible = sum(int((label > 0).sum()) for label in labels)
    assert abs(sure - 0.5 * 2 * 8 * width) <= 8
    assert abs(possible - 2 * 2 * 8 * width) <= 8


def test_neighbours_keep_their_cores_in_either_order() -> None:
    source = labelled(6)
    label_of(source)[8:14, 12:16, 1:3] = 1
    item = guessed(1.0)
    assert item.guess is not None
    # The first structure is probable where the second is less so, and what either reaches is all.
    item.guess[1] = 0
    item.guess[1, 2:14, 8:12, 1:3] = item.guess[2, 2:14, 8:12, 1:3].flip(0) * 0.9
    found = []
    for order in ([1, 2], [2, 1]):
        (one,) = with_sized_anatomy([item], [source], order, spacing_mm=(1, 1, 1.5), margin_mm=0.0)
        found.append(label_of(one))
        assert int((found[-1] == 1).sum()) == int((found[-1] == 2).sum()) == 24
    assert torch.equal(*found)


def test_anatomy_lies_where_labelled_crops_have_it() -> None:
    sources = [labelled(4)]
    (anywhere,) = sized([guessed(1.0)], sources)
    (near,) = sized([guessed(1.0)], sources, margin_mm=3.0)
    assert (anywhere == 2).nonzero()[:, 0].min() == 2
    assert (near == 2).nonzero()[:, 0].min() == 5
    assert not near[:5].any() and not near[18].any()


def test_what_no_labelled_crop_has_is_nowhere() -> None:
    empty = labelled(0)
    (label,) = sized([guessed(1.0)], [empty, empty])
    assert not label.any()


def test_what_is_no_anatomy_is_background() -> None:
    found = with_sized_anatomy([guessed(1.0)], [labelled(4)], [], spacing_mm=(1, 1, 1), margin_mm=0)
    assert not label_of(found[0]).any()
