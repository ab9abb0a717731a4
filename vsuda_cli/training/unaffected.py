"""Which unlabelled crops have no lesion: of a subject's ears one has it, and the other none."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from vsuda_cli.images.components import find_components
from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.images.resampling import resample_to_grid
from vsuda_cli.training.data import Item, affine_of, guess_of, label_of
from vsuda_cli.training.lesions import Lesion, anatomy_centre, place_of, sides_of

# Below this probability a structure is not there for certain.
SURELY_NOT = 0.05
# Voxels beyond what a crop's sides cut of the other ear's lesion, of which nothing is known either.
CUT_MARGIN = 3


def one_a_subject(lesions: Sequence[Lesion]) -> bool:
    """Tell whether no subject has whole lesions in two crops of different ears."""
    ears = {(one.item.subject, one.item.ear) for one in lesions}
    return len(ears) == len({subject for subject, _ in ears})


def without_lesion(
    items: Sequence[Item], donors: Sequence[Lesion], lesions: Sequence[int]
) -> list[bool]:
    """Tell of each unlabelled item, with a guess and labelled anatomy, whether it has no lesion.

    Of a subject's items that is so for all but the one with the most evidence. A guess need not
    outline a lesion for that: what it errs in, it errs in for both ears.
    """
    found = [lesion_evidence(item, donors, lesions) for item in items]
    most: dict[str, float] = {}
    for item, evidence in zip(items, found, strict=True):
        most[item.subject] = max(most.get(item.subject, evidence), evidence)
    return [evidence < most[item.subject] for item, evidence in zip(items, found, strict=True)]


def lesion_evidence(item: Item, donors: Sequence[Lesion], lesions: Sequence[int]) -> float:
    """Return the mean guessed probability of `lesions` where a donor's lies, averaged over donors.

    Each donor counts the same: summed over voxels, the few large ones would decide, and most of
    where these lie is brain, in which a poor guess errs.
    """
    probability, label = _lesion(item, lesions), label_of(item)
    centre = anatomy_centre(label, lesions)
    total = 0.0
    for donor in donors:
        places, _ = place_of(donor, centre, label)
        if len(places):
            total += float(probability[tuple(places.T)].mean())
    return total / len(donors)


def as_unaffected(
    item: Item, affected: Iterable[Item], donors: Sequence[Lesion], lesions: Sequence[int]
) -> Item:
    """Return an item of labelled anatomy that has no lesion: all else is background.

    But a large lesion reaches into the other ear's crop, and there it is no background: nothing is
    known where it is not in those of `affected`, what `as_affected` gave, that are of the subject,
    nor of what the crop's sides cut of a guessed lesion. Where a donor's would lie from this ear it
    has none all the same.
    """
    label = label_of(item).clone()
    unknown = torch.zeros_like(label, dtype=torch.bool)
    for other in affected:
        if other.subject == item.subject:
            unknown |= _unknown_here(item, other)
    unknown &= ~_places_of(donors, label, lesions)
    unknown |= _cut_by_sides(_lesion(item, lesions) >= 0.5)
    label[(label == 0) & unknown] = IGNORED
    return replace(item, label=label, guess=None)


def as_affected(item: Item, donors: Sequence[Lesion], lesions: Sequence[int]) -> Item:
    """Return an item of labelled anatomy that has a lesion: where it may be, nothing is known.

    That is where a donor's would lie, and what is guessed besides. A guess that is learnt from
    grows from round to round; what it misses would be learnt as background.
    """
    label = label_of(item).clone()
    possible = (_lesion(item, lesions) >= SURELY_NOT) | _places_of(donors, label, lesions)
    label[(label == 0) & possible] = IGNORED
    return replace(item, label=label, guess=None)


def _places_of(donors: Sequence[Lesion], label: Tensor, lesions: Sequence[int]) -> Tensor:
    """Return where donors' lesions would lie in a crop (X, Y, Z) with this label map."""
    centre, places = anatomy_centre(label, lesions), torch.zeros_like(label, dtype=torch.bool)
    for donor in donors:
        voxels, _ = place_of(donor, centre, label)
        places[tuple(voxels.T)] = True
    return places


def _lesion(item: Item, lesions: Sequence[int]) -> Tensor:
    """Return the guessed probability (X, Y, Z) of a lesion."""
    return guess_of(item)[list(lesions)].sum(dim=0).to(item.image.device)


def _unknown_here(item: Item, other: Item) -> Tensor:
    """Return the voxels (X, Y, Z) of an item where another crop of its scan is ignored."""
    label = label_of(item)
    ignored = (label_of(other) == IGNORED).cpu().numpy().astype(np.float32)
    here = resample_to_grid(ignored, affine_of(other), label.shape, affine_of(item), order=0)
    return torch.from_numpy(here > 0).to(label.device)


def _cut_by_sides(mask: Tensor) -> Tensor:
    """Return the components of a mask (X, Y, Z) that the crop's sides cut, and a margin."""
    numbered, _ = find_components(mask.cpu().numpy(), np.eye(4), 26)
    at_sides = sides_of(torch.from_numpy(numbered)).unique().numpy()
    cut = np.isin(numbered, at_sides[at_sides > 0])
    if cut.any():
        cut = ndimage.binary_dilation(cut, iterations=CUT_MARGIN)
    return torch.from_numpy(cut).to(mask.device)
