"""Lesions of other subjects in crops that have none: in their place, with their intensities."""

import torch

from vsuda_cli.training.data import Item
from vsuda_cli.training.transplant import transplant_lesions


def crop(subject: str, lesion: bool, shift: int = 0, size: int = 24) -> Item:
    """Return a crop with label 2 at x = 14 to 16, and label 1 six voxels before it, if any."""
    image = torch.full((1, size, 20, 4), 0.1 + 0.01 * int(subject))
    label = torch.zeros((size, 20, 4), dtype=torch.uint8)
    label[14 + shift : 17 + shift, 8:11, 1:3] = 2
    if lesion:
        label[6 + shift : 10 + shift, 8:12, 1:3] = 1
        image[0][label == 1] = 0.5 + 0.01 * int(subject)
    return Item(f"case_{subject}_R", image, label, 1.0)


def donor_of(made: Item) -> int:
    """Return the number of the subject whose lesion, of an intensity of its own, a crop got."""
    own, drawn = made.image[0, 0, 0, 0], made.image.amax()
    assert drawn > own + 0.2
    return round(100 * (float(drawn) - 0.5))


def test_a_lesion_lies_where_it_lay_from_the_anatomy() -> None:
    healthy, donor = crop("1", lesion=False, shift=3), crop("2", lesion=True)
    (made,) = transplant_lesions([healthy, donor], 2, copies=1, seed=0)
    assert made.subject == healthy.subject
    assert made.label is not None and healthy.label is not None
    expected = crop("1", lesion=True, shift=3).label
    assert expected is not None and torch.equal(made.label, expected)
    assert (made.image[0][expected == 1] == 0.52).all()
    assert torch.equal(made.image[0][expected != 1], healthy.image[0][expected != 1])
    assert not (healthy.label == 1).any()  # the crop itself stays


def test_only_whole_lesions_of_other_subjects_go_where_there_is_room() -> None:
    cut = crop("3", lesion=False)
    assert cut.label is not None
    cut.label[0:3, 8:12] = 1
    items = [crop("1", False), crop("2", True), cut, crop("4", True, shift=1), crop("4", False)]
    made = transplant_lesions(items, 2, copies=5, seed=0)
    pairs = {(one.subject, donor_of(one)) for one in made}
    # Not into crops with one in its place; the tumour that a crop cuts goes nowhere.
    assert pairs == {
        ("case_1", 2),
        ("case_1", 4),
        ("case_3", 2),
        ("case_3", 4),
        ("case_4", 2),
    }


def test_copies_are_drawn_by_the_seed_and_anatomy_is_none() -> None:
    items = [crop("1", False), *(crop(str(n), True) for n in range(2, 12))]
    # Lesions in 10 of 11 crops are taken for anatomy.
    assert transplant_lesions(items, 2, copies=2, seed=0) == []
    items += [crop(str(n), False) for n in range(12, 20)]
    first, again, other = (
        [(one.case, donor_of(one)) for one in transplant_lesions(items, 2, copies=2, seed=seed)]
        for seed in (0, 0, 1)
    )
    assert len(first) == 2 * 9
    assert first == again != other
