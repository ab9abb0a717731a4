"""Lesions are told from anatomy by the crops that have one whole."""

import torch

from vsuda_cli.training.data import Item
from vsuda_cli.training.lesions import find_lesions, whole_part


def item(number: int, *, lesion: bool, sliver: bool = False) -> Item:
    label = torch.zeros((20, 16, 4), dtype=torch.uint8)
    label[12:14, 8:10, 1:3] = 2
    if lesion:
        # It may go on beyond the first slice.
        label[6:10, 8:11, 0:2] = 1
    if sliver:
        label[0:2, 8:12, 1:3] = 1
    return Item(str(number), torch.zeros((1, 20, 16, 4)), label)


def test_what_many_crops_lack_is_a_lesion_though_the_other_ears_shows() -> None:
    items = [item(n, lesion=n % 2 == 0, sliver=n % 2 == 1) for n in range(10)]
    assert find_lesions(items, 2) == [1]
    everywhere = [item(n, lesion=True) for n in range(10)]
    assert find_lesions(everywhere, 2) == []
    never_whole = [item(n, lesion=False, sliver=n % 2 == 0) for n in range(10)]
    assert find_lesions(never_whole, 3) == []


def test_a_whole_part_is_the_largest_that_the_sides_do_not_cut() -> None:
    both = item(0, lesion=True, sliver=True)
    assert both.label is not None
    found = whole_part(both.label == 1)
    assert len(found) == 4 * 3 * 2
    assert (both.label[tuple(found.T)] == 1).all()
    cut = item(1, lesion=False, sliver=True)
    assert cut.label is not None
    assert whole_part(cut.label == 1).shape == (0, 3)
    assert whole_part(cut.label == 7).shape == (0, 3)
