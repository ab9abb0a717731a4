"""Training cases, preprocessed once and kept on the training device where they fit."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vsuda_cli.config import Preprocessing
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import Affine
from vsuda_cli.images.preprocessing import prepare
from vsuda_cli.images.pseudo_labels import IGNORED, sure_labels
from vsuda_cli.images.resampling import resample_image, resample_label
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import (
    load_image,
    load_label_on,
    load_probability,
    read_geometry,
    same_grid,
)
from vsuda_cli.training.exclusion import excluded

logger = logging.getLogger(__name__)

# Share of a GPU's free memory that one set of cases may take; the rest is for the networks.
MEMORY_SHARE = 0.4
# What a crop's ear and a pseudo-image's checkpoints add to the subject's case id.
_SUFFIX = re.compile(r"(_[RL])?(_e\d+)*$")


@dataclass(frozen=True)
class Item:
    """One preprocessed volume: image (1, X, Y, Z) in [0, 1], label (X, Y, Z) uint8 or None.

    guess: where the label is what a model is sure of, its probabilities (class, X, Y, Z).
    affine: of a loaded item, voxel index to the RAS mm of the scan it was cut from.
    """

    case: str
    image: Tensor
    label: Tensor | None
    guess: Tensor | None = None
    affine: Affine | None = None

    @property
    def subject(self) -> str:
        """The case id without ear and checkpoint: what a validation split must not divide."""
        return subject_of(self.case)

    @property
    def ear(self) -> str:
        """`R`, `L`, or nothing where the case id does not say it."""
        found = _SUFFIX.search(self.case)
        return found[1][1:] if found and found[1] else ""


def label_of(item: Item) -> Tensor:
    """Return an item's label map; raises ValueError if it has none."""
    if item.label is None:
        raise ValueError(f"{item.case} has no label")
    return item.label


def guess_of(item: Item) -> Tensor:
    """Return an item's guess; raises ValueError if it has none."""
    if item.guess is None:
        raise ValueError(f"{item.case} has no guess")
    return item.guess


def affine_of(item: Item) -> Affine:
    """Return an item's affine; raises ValueError if it has none."""
    if item.affine is None:
        raise ValueError(f"{item.case} has no affine")
    return item.affine


def subject_of(case: str) -> str:
    """Return a case id without the suffixes of crops and pseudo-images."""
    return _SUFFIX.sub("", case)


def load_item(
    image: CaseFile,
    label: Path | None,
    preprocessing: Preprocessing,
    class_count: int,
) -> Item:
    """Load and preprocess one case, into the host's memory.

    Raises VsudaError for unreadable files, labels out of range, or a label on another grid.
    """
    volume = load_image(image.path)
    array, affine = prepare(volume.array, volume.affine, preprocessing)
    tensor = torch.from_numpy(array)[None]
    if label is None:
        return Item(image.case, tensor, None, affine=affine)
    labels = load_label_on(volume, label, class_count)
    resampled, _ = resample_label(labels.array, labels.affine, preprocessing.spacing_mm)
    return Item(image.case, tensor, torch.from_numpy(resampled), affine=affine)


def keep_near(items: list[Item], device: torch.device) -> list[Item]:
    """Return items kept on the device if they fit, else in page-locked memory, ready to be sent."""
    if device.type == "cpu":
        return items
    tensors = [tensor for item in items for tensor in (item.image, item.label)]
    needed = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    free, _ = torch.cuda.mem_get_info(device)
    if fits(needed, free):
        return [_moved(item, lambda tensor: tensor.to(device)) for item in items]
    logger.info("%.1f GiB of cases stay in host memory, page-locked", needed / 2**30)
    return [_moved(item, lambda tensor: tensor.pin_memory()) for item in items]


def fits(needed_bytes: int, free_bytes: int) -> bool:
    """Tell whether cases may be kept on a device with so much free memory."""
    return needed_bytes <= MEMORY_SHARE * free_bytes


def _moved(item: Item, move: Callable[[Tensor], Tensor]) -> Item:
    label = None if item.label is None else move(item.label)
    return replace(item, image=move(item.image), label=label)


def load_pseudo_item(
    image: CaseFile,
    probability: Path,
    preprocessing: Preprocessing,
    class_count: int,
    least: float,
    *,
    keep_guess: bool,
    ranges: Sequence[tuple[float, float]] = (),
) -> Item:
    """Load and preprocess one unlabelled case with what a model is sure of as its label.

    With `keep_guess` the probabilities themselves stay too, several times as large as the image.
    With `ranges` of the structures' intensities, what is guessed where they cannot be is dropped.

    Raises VsudaError for unreadable files, another number of classes, or another grid.
    """
    item = load_item(image, None, preprocessing, class_count)
    maps = load_probability(probability)
    if maps.shape[3] != class_count:
        problem = f"holds {maps.shape[3]} classes, background included"
        raise VsudaError(probability, problem, f"predict {class_count}, or set --classes")
    grid = read_geometry(image.path)
    if not same_grid(grid, maps):
        raise VsudaError(probability, f"is on another grid than {image.path.name}", "predict it")
    label = sure_labels(maps.array, least)
    resampled, _ = resample_label(label, grid.affine, preprocessing.spacing_mm)
    known = torch.from_numpy(resampled)
    where = excluded(item.image, ranges) if ranges else None
    if where is not None:
        for value, nowhere in enumerate(where, start=1):
            known[nowhere & (known == value)] = IGNORED
    item = replace(item, label=known)
    if not keep_guess:
        return item
    channels = [
        resample_image(maps.array[..., value], grid.affine, preprocessing.spacing_mm)[0]
        for value in range(class_count)
    ]
    guess = torch.from_numpy(np.stack(channels))
    if where is not None:
        guess[1:][where] = 0
    return replace(item, guess=guess)


def split(items: list[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Split by subject into training and validation, the same way for the same subjects and seed.

    At least one subject is kept for validation when `fraction` is not 0. Raises VsudaError if
    nothing would be left to train on.
    """
    if fraction == 0:
        return items, []
    subjects = sorted({item.subject for item in items})
    count = max(1, round(fraction * len(subjects)))
    if count >= len(subjects):
        raise VsudaError(
            f"{len(subjects)} subject(s)",
            "are too few for a validation split",
            "add cases, or keep none: --set validation_fraction=0",
        )
    order = np.random.default_rng(seed).permutation(len(subjects))
    chosen = {subjects[i] for i in order[:count]}
    training = [item for item in items if item.subject not in chosen]
    return training, [item for item in items if item.subject in chosen]
