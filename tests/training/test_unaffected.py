"""Of a subject's ears the one with more evidence has the lesion; the other teaches its absence."""

from dataclasses import replace

import numpy as np
import torch

from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training.data import Item
from vsuda_cli.training.lesions import whole_lesions
from vsuda_cli.training.unaffected import (
    as_affected,
    as_unaffected,
    lesion_evidence,
    one_a_subject,
    without_lesion,
)

SIZE = (24, 20, 4)


def labelled(case: str, lesion: bool = True) -> Item:
    """Return a crop with anatomy, label 2, and a lesion of 4 x 4 x 2 voxels before it."""
    label = torch.zeros(SIZE, dtype=torch.uint8)
    label[14:17, 8:11, 1:3] = 2
    if lesion:
        label[6:10, 8:12, 1:3] = 1
    return Item(case, torch.zeros(1, *SIZE), label)


def guessed(case: str, lesion: float, elsewhere: float = 0.0, shift: int = 0) -> Item:
    """Return a crop with these probabilities where labelled crops have lesions, and elsewhere."""
    guess = torch.zeros(3, *SIZE)
    guess[2, 14 + shift : 17 + shift, 8:11, 1:3] = 1
    guess[1, 6 + shift : 10 + shift, 8:12, 1:3] = lesion
    guess[1, :, 15:20] = elsewhere
    guess[0] = 1 - guess[1:].sum(dim=0)
    label = guess.argmax(dim=0).to(torch.uint8)
    label[guess.amax(dim=0) < 0.8] = IGNORED
    return Item(case, torch.zeros(1, *SIZE), label, guess)


def test_evidence_is_what_lies_where_lesions_lie_from_the_anatomy() -> None:
    donors = whole_lesions([labelled("a_R"), labelled("b_L", lesion=False)], [1])
    for shift in (0, 3):
        found = lesion_evidence(guessed("t_R", 0.25, 1.0, shift), donors, [1])
        assert abs(found - 0.25) < 1e-5


def test_a_large_donor_is_no_more_evidence_than_a_small_one() -> None:
    large = labelled("b_L")
    assert large.label is not None
    large.label[2:12, 2:15] = 1
    donors = whole_lesions([labelled("a_R"), large], [1])
    sure, vague = guessed("t_R", 0.9), guessed("t_L", 0.0)
    assert vague.guess is not None
    vague.guess[1, 2:12, 2:15] = 0.3  # more in sum, grey brain
    assert without_lesion([sure, vague], donors, [1]) == [False, True]


def test_all_but_the_ear_with_most_evidence_have_none() -> None:
    donors = whole_lesions([labelled("a_R")], [1])
    items = [
        guessed("t_R", 0.3),
        guessed("t_L", 0.2, elsewhere=1.0),
        guessed("u_L", 0.1),
        guessed("u_R", 0.4),
        guessed("only_R", 0.0),
    ]
    assert without_lesion(items, donors, [1]) == [False, True, True, False, False]


def test_both_ears_of_a_subject_are_told_from_two_images_of_one() -> None:
    assert one_a_subject(whole_lesions([labelled("a_R"), labelled("b_L")], [1]))
    assert one_a_subject(whole_lesions([labelled("a_R_e008"), labelled("a_R_e010")], [1]))
    assert not one_a_subject(whole_lesions([labelled("a_R"), labelled("a_L")], [1]))


def test_what_is_guessed_in_an_unaffected_ear_is_background() -> None:
    item = guessed("t_R", 0.9)
    assert item.guess is not None
    item = replace(item, label=labelled("t_R", lesion=False).label)
    item.guess[1, 0:3, 3:6, 0] = 0.9  # the other ear's, cut by the side
    found = as_unaffected(item, [], [], [1])
    assert found.guess is None and found.label is not None and item.label is not None
    unknown = found.label == IGNORED
    assert unknown[0:3, 3:6, 0].all() and not unknown[8:].any()
    assert torch.equal(found.label[~unknown], item.label[~unknown])


def test_a_lesion_that_reaches_into_the_other_ears_crop_is_no_background_there() -> None:
    # The left ear's crop is mirrored, and overlaps with the right one's by six voxels.
    size = SIZE[0]
    right = replace(labelled("t_R", lesion=False), affine=np.diag([0.6, 0.6, 1.5, 1.0]))
    mirrored = np.diag([-0.6, 0.6, 1.5, 1.0])
    mirrored[0, 3] = 0.6 * (2 * size - 1 - 6)
    left = replace(guessed("t_L", 0.0), affine=mirrored)
    left = replace(left, label=labelled("t_L", lesion=False).label)
    assert right.label is not None and left.label is not None
    right.label[size - 8 :, 5, 2] = IGNORED
    # Where a tumour of the left ear itself would lie it has none.
    donor = labelled("a_R", lesion=False)
    assert donor.label is not None
    donor.label[19:22, 4:7, 1:3] = 1
    found = as_unaffected(left, [right], whole_lesions([donor], [1]), [1]).label
    assert found is not None
    unknown = torch.zeros_like(found, dtype=torch.bool)
    unknown[size - 6 :, 5, 2] = True
    unknown[19:22] = False
    assert torch.equal(found == IGNORED, unknown)
    assert torch.equal(found[~unknown], left.label[~unknown])


def test_nothing_is_known_of_where_a_lesion_may_be() -> None:
    item = guessed("t_R", 0.01)
    assert item.guess is not None
    item = replace(item, label=labelled("t_R", lesion=False).label)
    item.guess[1, 5] = 0.1
    item.guess[1, 14] = 0.1
    donors = whole_lesions([labelled("a_R")], [1])
    found = as_affected(item, donors, [1]).label
    assert found is not None and item.label is not None
    possible = item.guess[1] >= 0.05
    # Also where the guess misses what labelled crops have.
    where = labelled("a_R").label == 1
    assert (where & ~possible).any() and not possible.all()
    possible |= where
    anatomy = item.label == 2
    assert torch.equal(found == IGNORED, possible & ~anatomy)
    assert torch.equal(found == 2, anatomy)
    # The item itself stays.
    assert not (item.label == IGNORED).any()
