"""What is known of unlabelled crops becomes labels; all else stays ignored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vsuda_cli.commands.known_labels import known_of_target, pair_probabilities, with_known_labels
from vsuda_cli.config import SegmentationSettings
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import translation
from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import save_fractions
from vsuda_cli.training.data import Item

SIZE = (24, 20, 4)
TUMOUR = (slice(6, 10), slice(8, 12), slice(1, 3))
COCHLEA = (slice(14, 17), slice(8, 11), slice(1, 3))
PLAIN = SegmentationSettings()
RANGES = ((0.3, 0.7), (0.75, 1.0))


def labelled(case: str, tumour: bool = True) -> Item:
    label = torch.zeros(SIZE, dtype=torch.uint8)
    label[COCHLEA] = 2
    if tumour:
        label[TUMOUR] = 1
    return Item(case, torch.full((1, *SIZE), 0.5), label)


def unlabelled(case: str, tumour: float) -> Item:
    """Return a crop whose tumour a model gives this probability, and what it is sure of."""
    guess = torch.zeros(3, *SIZE)
    guess[(2, *COCHLEA)] = 1
    guess[(1, *TUMOUR)] = tumour
    guess[0] = 1 - guess[1:].sum(dim=0)
    label = guess.argmax(dim=0).to(torch.uint8)
    label[guess.amax(dim=0) < 0.8] = IGNORED
    image = torch.full((1, *SIZE), 0.5)
    image[(0, *COCHLEA)] = 0.9
    # Both ears' crops lie side by side.
    affine = translation(np.array([100.0 if case.endswith("R") else 0.0, 0.0, 0.0]))
    return Item(case, image, label, guess, affine)


def label(item: Item) -> torch.Tensor:
    assert item.label is not None
    return item.label


def test_images_meet_their_probabilities(tmp_path: Path) -> None:
    images = [CaseFile(case, "hrT2", tmp_path / f"{case}_hrT2.nii.gz") for case in ("a_R", "b_R")]
    maps = np.zeros((4, 4, 4, 3), np.float32)
    maps[..., 0] = 1
    for case in ("b_R", "c_R"):
        save_fractions(tmp_path / f"{case}_Probability.nii.gz", maps, np.eye(4))
    assert pair_probabilities(images, None, PLAIN) == []
    (pair,) = pair_probabilities(images[1:], tmp_path, PLAIN)
    assert pair == (images[1], tmp_path / "b_R_Probability.nii.gz")
    with pytest.raises(VsudaError, match=r"a_R_hrT2\.nii\.gz: has no a_R_Probability"):
        pair_probabilities(images, tmp_path, PLAIN)


def test_grafts_need_guesses_and_intensities(tmp_path: Path) -> None:
    grafts = replace(PLAIN, lesion_grafts=1)
    with pytest.raises(VsudaError, match="give --pseudo-labels"):
        pair_probabilities([], None, grafts)
    with pytest.raises(VsudaError, match="give --set structure_ranges"):
        pair_probabilities([], tmp_path, grafts)


def test_of_each_structure_the_largest_component_is_learnt() -> None:
    target = unlabelled("t_R", tumour=1.0)
    label(target)[1:3, 15:17, 1] = 1
    (known,) = with_known_labels([target], [labelled("a_R")], PLAIN)
    assert (label(known)[TUMOUR] == 1).all()
    assert (label(known)[COCHLEA] == 2).all()
    assert (label(known)[1:3, 15:17, 1] == IGNORED).all()
    # What came in is as it was.
    assert (label(target)[1:3, 15:17, 1] == 1).all()


def test_where_no_structure_ever_lies_is_background() -> None:
    bare = Item("t_R", torch.full((1, *SIZE), 0.5), None)
    spacing = replace(PLAIN.preprocessing, spacing_mm=(1.0, 1.0, 1.0))
    settings = replace(PLAIN, background_margin_mm=2.0, preprocessing=spacing)
    (known,) = with_known_labels([bare], [labelled("a_R")], settings)
    found = label(known)
    assert set(found.unique().tolist()) == {0, IGNORED}
    assert (found[TUMOUR] == IGNORED).all()
    assert (found[3:6] == 0).any()
    assert (found[:3] == 0).all()


def test_where_no_structure_can_be_by_its_intensity_is_background() -> None:
    target = unlabelled("t_R", tumour=1.0)
    bone = target.image.clone()
    bone[0, 12:19, 6:13] = 0.05
    dark = replace(target, image=bone)
    settings = replace(PLAIN, exclude_by_intensity=True, structure_ranges=RANGES)
    bright, without = with_known_labels([target, dark], [labelled("a_R")], settings)
    assert (label(bright)[COCHLEA] == 2).all()
    # Black bone: what was guessed there is no cochlea.
    assert (label(without)[COCHLEA] == 0).all()
    assert (label(without)[TUMOUR] == 1).all()


def test_without_anything_known_crops_stay_as_they_are() -> None:
    bare = Item("t_R", torch.zeros(1, *SIZE), None)
    target, grafted, lesions = known_of_target([bare], [labelled("a_R")], [], PLAIN)
    assert (target, grafted, lesions) == ([bare], [], [])


def test_the_healthy_ear_gets_lesions_and_stays_without_as_often() -> None:
    source = [labelled("a_R"), labelled("a_L", False), labelled("b_R"), labelled("b_L", False)]
    target = [unlabelled("t_R", tumour=0.9), unlabelled("t_L", tumour=0.1)]
    settings = replace(PLAIN, lesion_grafts=2, structure_ranges=RANGES)
    guesses = [(CaseFile("t_R", "hrT2", Path("t")), Path("t"))]
    known, grafted, lesions = known_of_target(target, source, guesses, settings)
    assert lesions == [1]
    assert [item.case for item in known] == ["t_R", "t_L"]
    affected, healthy = map(label, known)
    # Which voxels of the one are its tumour nobody knows; the other has none.
    assert (affected[TUMOUR] == IGNORED).all()
    assert not (healthy == 1).any()
    assert (healthy[TUMOUR] == 0).any()
    with_lesion = [item for item in grafted if (label(item) == 1).any()]
    assert (len(with_lesion), len(grafted)) == (2, 4)
