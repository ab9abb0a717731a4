"""Lesions are told from anatomy by the crops that have one whole."""

import torch

from vsuda_cli.training.data import Item
from vsuda_cli.training.lesions import (
    Lesion,
    anatomy_centre,
    find_lesions,
    place_of,
    whole_part,
)


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
    assert find_lesions([item(n, lesion=n == 3) for n in range(10)], 2) == [1]
    never_whole = [item(n, lesion=False, sliver=n % 2 == 0) for n in range(10)]
    assert find_lesions(never_whole, 3) == []


def test_a_whole_part_is_the_largest_that_the_sides_do_not_cut() -> None:
    both = item(0, lesion=True, sliver=True)
    assert both.label is not None
    found = whole_part(both.label == 1)
    assert len(found) == 4 * 3 * 2
    assert (both.label[tuple(found.T)] == 1).all()
    for side in ((19, 8), (8, 0), (8, 15)):
        at_a_side = item(0, lesion=True)
        assert at_a_side.label is not None
        at_a_side.label[tuple(slice(min(i, 9), max(i, 9) + 1) for i in side)] = 1
        assert len(whole_part(at_a_side.label == 1)) == 0, side
    cut = item(1, lesion=False, sliver=True)
    assert cut.label is not None
    assert whole_part(cut.label == 1).shape == (0, 3)
    assert whole_part(cut.label == 7).shape == (0, 3)


def test_a_lesion_is_placed_by_whole_voxels_and_what_lies_outside_is_told() -> None:
    voxels = torch.tensor([[5, 5, 1], [6, 2, 1], [0, 1, 1], [5, 6, 3]])
    lesion = Lesion(item(0, lesion=True), voxels, torch.tensor([5.0, 5.0, 1.0]))
    label = torch.zeros((7, 5, 4), dtype=torch.uint8)
    places, fits = place_of(lesion, torch.tensor([5.6, 3.4, 1.0]), label)
    # One voxel on, two back: past the last of x, before the first of y, at the last of z.
    assert places.tolist() == [[6, 3, 1], [6, 4, 3]]
    assert fits.tolist() == [True, False, False, True]


def test_a_crop_without_anatomy_has_its_middle_for_it() -> None:
    label = torch.zeros((5, 4, 3), dtype=torch.uint8)
    label[0, 0, 0], label[4, 3, 2] = 1, 255
    assert anatomy_centre(label, [1]).tolist() == [2.0, 1.5, 1.0]
    label[3, 1, 2] = 2
    assert anatomy_centre(label, [1]).tolist() == [3.0, 1.0, 2.0]
