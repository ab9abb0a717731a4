"""Lesions of other subjects in crops that have none: in their place, with their intensities."""

import pytest
import torch

from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training import varied_lesions
from vsuda_cli.training.data import Item
from vsuda_cli.training.lesions import whole_lesions
from vsuda_cli.training.transplant import transplant_lesions


def crop(subject: str, lesion: bool, shift: int = 0, size: int = 24) -> Item:
    """Return a crop with label 2 at x = 14 to 16, and label 1 six voxels before it, if any."""
    image = torch.full((1, size, 20, 4), 0.1 + 0.01 * int(subject))
    label = torch.zeros((size, 20, 4), dtype=torch.uint8)
    label[14 + shift : 17 + shift, 8:11, 1:3] = 2
    if lesion:
        label[6 + shift : 10 + shift, 8:12, 1:3] = 1
        image[0][label == 1] = 0.5 + 0.01 * int(subject)
    return Item(f"case_{subject}_R", image, label)


def copies_of(items: list[Item], copies: int, seed: int = 0) -> list[Item]:
    return transplant_lesions(items, whole_lesions(items, [1]), [1], copies, seed)


def donor_of(made: Item) -> int:
    """Return the number of the subject whose lesion, of an intensity of its own, a crop got."""
    own, drawn = made.image[0, 0, 0, 0], made.image.amax()
    assert drawn > own + 0.2
    return round(100 * (float(drawn) - 0.5))


@pytest.fixture
def as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lesions are not varied."""
    for name, nothing in (("TURN_DEGREES", 0.0), ("SCALE", 1.0), ("MOVE", 0.0)):
        monkeypatch.setattr(varied_lesions, f"LARGEST_{name}", nothing)


@pytest.mark.usefixtures("as_they_are")
def test_a_lesion_lies_where_it_lay_from_the_anatomy() -> None:
    healthy, donor = crop("1", lesion=False, shift=3), crop("2", lesion=True)
    (made,) = copies_of([healthy, donor], 1)
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
    made = copies_of(items, 5)
    pairs = {(one.subject, donor_of(one)) for one in made}
    # Not into crops with one in its place; the tumour that a crop cuts goes nowhere.
    assert pairs == {
        ("case_1", 2),
        ("case_1", 4),
        ("case_3", 2),
        ("case_3", 4),
        ("case_4", 2),
    }


def test_where_a_lesion_would_lie_outside_there_is_no_room() -> None:
    assert copies_of([crop("1", lesion=False, shift=-14), crop("2", lesion=True)], 1) == []


def test_copies_are_drawn_by_the_seed() -> None:
    items = [crop(str(n), n % 2 == 0) for n in range(1, 20)]
    first, again, other = (
        [(one.case, donor_of(one)) for one in copies_of(items, 2, seed)] for seed in (0, 0, 1)
    )
    assert len(first) == 2 * 10
    assert first == again != other


def test_each_copy_is_of_another_shape() -> None:
    made = copies_of(
        [crop("1", lesion=False), *(crop(str(n), lesion=True) for n in range(2, 9))], 7
    )
    shapes = {tuple((one.label == 1).flatten().tolist()) for one in made if one.label is not None}
    assert len(made) == len(shapes) == 7


@pytest.mark.usefixtures("as_they_are")
def test_a_lesion_covers_no_other_structure() -> None:
    host, donor = crop("1", lesion=False), crop("2", lesion=True)
    assert host.label is not None and donor.label is not None
    host.label[8:10, 8:10, 1] = 3
    (made,) = transplant_lesions([host], whole_lesions([donor], [1]), [1], 1, 0)
    assert made.label is not None
    there = host.label == 3
    assert torch.equal(made.label == 3, there)
    assert torch.equal(made.image[0][there], host.image[0][there])
    # The third structure is anatomy too and draws the lesion along, in part out of its place.
    lesion = made.label == 1
    assert 0 < int(lesion.sum()) < int((donor.label == 1).sum())
    assert (made.image[0][lesion] == 0.52).all()


@pytest.mark.usefixtures("as_they_are")
def test_a_lesion_covers_what_nothing_is_known_of() -> None:
    host, donor = crop("1", lesion=False), crop("2", lesion=True)
    assert host.label is not None
    host.label[host.label == 0] = IGNORED
    (made,) = transplant_lesions([host], whole_lesions([donor], [1]), [1], 1, 0)
    assert made.label is not None and donor.label is not None
    assert torch.equal(made.label == 1, donor.label == 1)
    assert torch.equal(made.label == 2, donor.label == 2)
