"""Anatomy is labelled as large as in labelled crops, however large it is guessed."""

import pytest
import torch

from vsuda_cli.training.anatomy_size import with_sized_anatomy
from vsuda_cli.training.data import Item

SIZE = (20, 20, 4)


def labelled(width: int) -> Item:
    label = torch.zeros(SIZE, dtype=torch.uint8)
    label[8 : 8 + width, 8:12, 1:3] = 2
    return Item("a_R", torch.zeros(1, *SIZE), label, 1.0)


def guessed(strength: float) -> Item:
    """Return a crop whose anatomy is less probable from x = 2 on, and a speck of it elsewhere."""
    guess = torch.zeros(3, *SIZE)
    falling = torch.linspace(1, 0.2, 12).view(12, 1, 1)
    guess[2, 2:14, 8:12, 1:3] = strength * falling
    guess[2, 18, 2, 0] = strength
    guess[1, 2:14, 2:5] = 0.9
    label = torch.full(SIZE, 255, dtype=torch.uint8)
    return Item("t_R", torch.zeros(1, *SIZE), label, 1.0, guess)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_items_together_get_the_mean_size_of_labelled_ones(width: int) -> None:
    sources = [labelled(width - 1), labelled(width + 1)]
    first, second = with_sized_anatomy([guessed(1.0), guessed(0.999)], sources, [2])
    counts = []
    for item in (first, second):
        assert item.label is not None and set(item.label.unique().tolist()) == {0, 2}
        # From the most probable on, without the speck.
        found = (item.label == 2).nonzero()
        assert found[:, 0].min() == 2 and found[:, 0].max() <= 13
        counts.append(len(found))
    assert abs(sum(counts) - 2 * width * 8) <= 8
    assert abs(counts[0] - counts[1]) <= 8


def test_what_is_guessed_nowhere_is_labelled_nowhere_else() -> None:
    (item,) = with_sized_anatomy([guessed(1.0)], [labelled(4)], [])
    assert item.label is not None and not item.label.any()
