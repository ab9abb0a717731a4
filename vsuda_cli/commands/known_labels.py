"""What is known of unlabelled crops of the contrast to be segmented, as labels to learn from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vsuda_cli import config, console
from vsuda_cli.commands.segmenting import Labelled
from vsuda_cli.commands.training import load_items
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import CaseFile

if TYPE_CHECKING:
    import torch

    from vsuda_cli.training.data import Item


def pair_probabilities(
    images: Sequence[CaseFile], folder: Path | None, settings: config.SegmentationSettings
) -> Labelled:
    """Return images with their probability maps in a folder; nothing without a folder.

    Raises VsudaError naming an image that has none, or a setting that lacks what it needs.
    """
    from vsuda_cli.io.cases import find_probabilities

    if settings.lesion_grafts > 0 and folder is None:
        problem = "has nothing that tells which crops have no lesion"
        raise VsudaError("--set lesion_grafts", problem, "give --pseudo-labels")
    if settings.lesion_grafts > 0 and not settings.structure_ranges:
        problem = "has no intensities to draw lesions with"
        raise VsudaError("--set lesion_grafts", problem, "give --set structure_ranges")
    if folder is None:
        return []
    maps = {file.case: file.path for file in find_probabilities(folder)}
    for image in images:
        if image.case not in maps:
            problem = f"has no {image.case}_Probability.nii.gz in {folder}"
            raise VsudaError(image.path, problem, "make it with predict --probabilities")
    return [(image, maps[image.case]) for image in images]


def load_target(
    images: Sequence[tuple[CaseFile, None]],
    guesses: Labelled,
    settings: config.SegmentationSettings,
    device: "torch.device",
) -> list["Item"]:
    """Return unlabelled images; with guesses of them, what those are sure of is their label."""
    if guesses:
        return load_pseudo_labelled(guesses, settings, device)
    return load_items("Loading target images", images, settings.preprocessing, 1, device)


def load_pseudo_labelled(
    cases: Labelled, settings: config.SegmentationSettings, device: "torch.device"
) -> list["Item"]:
    """Return unlabelled images with what their probability maps are sure of as labels."""
    from vsuda_cli.training.data import keep_near, load_pseudo_item

    count = len(settings.classes) + 1
    least, keep = settings.pseudo_confidence, settings.lesion_grafts > 0
    ranges = settings.structure_ranges if settings.exclude_by_intensity else ()
    items = []
    with console.progress("Loading pseudo-labels", len(cases)) as bar:
        for image, path in cases:
            item = load_pseudo_item(
                image,
                path,
                settings.preprocessing,
                count,
                least,
                keep_guess=keep,
                ranges=ranges,
            )
            items.append(item)
            bar.advance(note=image.case)
    return keep_near(items, device)


def known_of_target(
    target: list["Item"],
    labelled: list["Item"],
    guesses: Labelled,
    settings: config.SegmentationSettings,
) -> tuple[list["Item"], list["Item"], list[int]]:
    """Return `target` with known voxels labelled and the rest ignored.

    Also the grafted copies (equal numbers with and without a lesion), and the labels that are
    lesions. These two are empty without `lesion_grafts`.
    """
    grafted: list[Item] = []
    lesions: list[int] = []
    if settings.lesion_grafts > 0:
        target, grafted, lesions = with_lesions_grafted(target, labelled, settings)
    if target and (guesses or settings.marks_background):
        target = with_known_labels(target, labelled, settings)
    return target, grafted, lesions


def with_known_labels(
    unlabelled: list["Item"], labelled: list["Item"], settings: config.SegmentationSettings
) -> list["Item"]:
    """Return unlabelled items with what is known of them as labels, all else ignored.

    That are the pseudo-labels, if they have any, one component of each structure; and background
    where no labelled crop has a structure within `background_margin_mm`, or where the intensity is
    that of no structure.
    """
    import numpy as np
    import torch

    from vsuda_cli.images.location import outside_region, structure_region
    from vsuda_cli.images.pseudo_labels import IGNORED, one_of_each
    from vsuda_cli.training.exclusion import excluded

    margin = settings.background_margin_mm
    region = None
    if margin > 0:
        labels = [item.label.cpu().numpy() for item in labelled if item.label is not None]
        region = structure_region(labels, settings.preprocessing.spacing_mm, margin)
    known, shares = [], []
    for item in unlabelled:
        shape = item.image.shape[1:]
        background = np.zeros(shape, np.bool_) if region is None else outside_region(region, shape)
        if settings.exclude_by_intensity:
            nowhere = excluded(item.image, settings.structure_ranges).all(dim=0)
            background = background | nowhere.cpu().numpy()
        guessed = np.full(shape, IGNORED, np.uint8)
        if item.label is not None:
            guessed = item.label.cpu().numpy()
        label = torch.from_numpy(one_of_each(guessed, background)).to(item.image.device)
        known.append(replace(item, label=label))
        shares.append(float(background.mean()))
    if settings.marks_background:
        share = sum(shares) / len(shares)
        console.say(f"background for certain: {share:.0%} of the unlabelled crops")
    return known


def with_lesions_grafted(
    pseudo: list["Item"], labelled: list["Item"], settings: config.SegmentationSettings
) -> tuple[list["Item"], list["Item"], list[int]]:
    """Tell the pseudo-labelled crops that have no lesion, and give copies of them one.

    Returns the crops with what that says of their labels; those without a lesion, as often with one
    of a labelled crop as without; and the labels that are lesions. Raises VsudaError where nothing
    tells which crops have none.
    """
    from vsuda_cli.training.anatomy_size import with_sized_anatomy
    from vsuda_cli.training.lesions import find_lesions, whole_lesions
    from vsuda_cli.training.transplant import transplant_lesions
    from vsuda_cli.training.unaffected import (
        as_affected,
        as_unaffected,
        one_a_subject,
        without_lesion,
    )

    lesions = find_lesions(labelled, len(settings.classes))
    donors = whole_lesions(labelled, lesions)
    setting = f"--set lesion_grafts={settings.lesion_grafts}"
    if not donors:
        raise VsudaError(
            setting, "no label is a lesion: most labelled crops have all", "leave it away"
        )
    if not one_a_subject(donors):
        problem = "subjects have labelled lesions in both ears: nothing tells where none are"
        raise VsudaError(setting, problem, "leave it away")
    anatomy = [value for value in range(1, len(settings.classes) + 1) if value not in lesions]
    sized = with_sized_anatomy(
        pseudo,
        labelled,
        anatomy,
        spacing_mm=settings.preprocessing.spacing_mm,
        margin_mm=settings.background_margin_mm,
    )
    has_none = without_lesion(sized, donors, lesions)
    # A lesion shows in the other ear's crop too, so those with one come first.
    affected = {
        item.case: as_affected(item, donors, lesions)
        for item, none in zip(sized, has_none, strict=True)
        if not none
    }
    known = [
        affected[item.case]
        if item.case in affected
        else as_unaffected(item, affected.values(), donors, lesions)
        for item in sized
    ]
    hosts = [item for item in known if item.case not in affected]
    if not hosts:
        raise VsudaError(setting, "no unlabelled subject has crops of both ears", "give both")
    grafted = transplant_lesions(hosts, donors, lesions, settings.lesion_grafts, settings.seed)
    console.say(f"{len(hosts)} unlabelled crops without a lesion; {len(grafted)} copies with one")
    # As many without: where each ear had a lesion, one would be found in each.
    return known, grafted + hosts * settings.lesion_grafts, lesions
