"""Training cases, preprocessed once and kept on the training device; patches are drawn there."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.config import Augmentation, Preprocessing
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.preprocessing import prepare
from vsuda_cli.images.pseudo_labels import IGNORED, sure_labels
from vsuda_cli.images.resampling import resample_label
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import load_image, load_label, load_probability, same_grid
from vsuda_cli.training.augmentation import random_patch_grid

# What a crop's ear and a pseudo-image's checkpoint add to the subject's case id.
_SUFFIX = re.compile(r"(_[RL])?(_e\d+)?$")


@dataclass(frozen=True)
class Item:
    """One preprocessed volume: image (1, X, Y, Z) in [0, 1], label (X, Y, Z) uint8 or None."""

    case: str
    image: Tensor
    label: Tensor | None
    inplane_mm: float

    @property
    def subject(self) -> str:
        """The case id without ear and checkpoint: what a validation split must not divide."""
        return subject_of(self.case)


def subject_of(case: str) -> str:
    """Return a case id without the suffixes of crops and pseudo-images."""
    return _SUFFIX.sub("", case)


def load_item(
    image: CaseFile,
    label: Path | None,
    preprocessing: Preprocessing,
    class_count: int,
    device: torch.device,
) -> Item:
    """Load and preprocess one case.

    Raises VsudaError for unreadable files, labels out of range, or a label on another grid.
    """
    volume = load_image(image.path)
    array, _ = prepare(volume.array, volume.affine, preprocessing)
    tensor = torch.from_numpy(array)[None].to(device)
    inplane = float(volume.spacing_mm[:2].max())
    if label is None:
        return Item(image.case, tensor, None, inplane)
    labels = load_label(label, class_count)
    if not same_grid(volume, labels):
        raise VsudaError(label, f"is on another grid than {image.path.name}", "resample the label")
    resampled, _ = resample_label(labels.array, labels.affine, preprocessing.spacing_mm)
    return Item(image.case, tensor, torch.from_numpy(resampled).to(device), inplane)


def load_pseudo_item(
    image: CaseFile,
    probability: Path,
    preprocessing: Preprocessing,
    class_count: int,
    least: float,
    device: torch.device,
) -> Item:
    """Load and preprocess one unlabelled case with what a model is sure of as its label.

    Raises VsudaError for unreadable files, another number of classes, or another grid.
    """
    item = load_item(image, None, preprocessing, class_count, device)
    maps = load_probability(probability)
    if maps.shape[3] != class_count:
        problem = f"holds {maps.shape[3]} classes, background included"
        raise VsudaError(probability, problem, f"predict {class_count}, or set --classes")
    if not same_grid(load_image(image.path), maps):
        raise VsudaError(probability, f"is on another grid than {image.path.name}", "predict it")
    label = sure_labels(maps.array, maps.affine, least)
    resampled, _ = resample_label(label, maps.affine, preprocessing.spacing_mm)
    return dataclasses.replace(item, label=torch.from_numpy(resampled).to(device))


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
            "add cases, give --validation, or --set validation_fraction=0",
        )
    order = np.random.default_rng(seed).permutation(len(subjects))
    chosen = {subjects[i] for i in order[:count]}
    training = [item for item in items if item.subject not in chosen]
    return training, [item for item in items if item.subject in chosen]


class PatchSampler:
    """Draws patches from items, every item once before any comes again."""

    def __init__(
        self,
        items: list[Item],
        patch_size: tuple[int, int, int],
        batch_size: int,
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        self.items = items
        self._patch_size = patch_size
        self._batch_size = batch_size
        self._augmentation = augmentation
        # Positions are drawn on the CPU: no transfer back from the device to learn an index.
        self._generator = torch.Generator().manual_seed(seed)
        self._order: list[int] = []
        self._foreground = [_foreground_voxels(item.label) for item in items]

    def draw(self) -> tuple[Tensor, Tensor | None]:
        """Return images (B, 1, X, Y, Z) and labels (B, X, Y, Z), None if the items have none.

        Patches one voxel thick are slices: they come as (B, 1, X, Y) and (B, X, Y).
        """
        images, labels = [], []
        for _ in range(self._batch_size):
            image, label = self._patch(self._next())
            images.append(image)
            if label is not None:
                labels.append(label)
        image_batch, label_batch = torch.cat(images), torch.cat(labels) if labels else None
        if self._patch_size[2] > 1:
            return image_batch, label_batch
        return image_batch[..., 0], None if label_batch is None else label_batch[..., 0]

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the order and the generator's state."""
        return {"order": list(self._order), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._order = list(state["order"])
        self._generator.set_state(state["generator"])

    def _next(self) -> int:
        if not self._order:
            self._order = torch.randperm(len(self.items), generator=self._generator).tolist()
        return self._order.pop()

    def _patch(self, index: int) -> tuple[Tensor, Tensor | None]:
        item = self.items[index]
        size = (item.image.shape[1], item.image.shape[2], item.image.shape[3])
        centre = self._centre(index, size)
        if self._augmentation is None:
            image = _cut(item.image, centre, self._patch_size)[None]
            label = item.label
            return image, None if label is None else _cut(label[None], centre, self._patch_size)
        grid = random_patch_grid(
            centre, self._patch_size, size, self._augmentation, self._generator
        )
        grid = grid.to(item.image.device, non_blocking=True)
        image = functional.grid_sample(item.image[None], grid, align_corners=True)
        if item.label is None:
            return image, None
        label = functional.grid_sample(
            item.label[None, None].float(), grid, mode="nearest", align_corners=True
        )
        return image, label[:, 0].to(torch.uint8)

    def _centre(self, index: int, size: tuple[int, int, int]) -> Tensor:
        chance, *place = torch.rand(5, generator=self._generator).tolist()
        voxels = self._foreground[index]
        wanted = self._augmentation.foreground if self._augmentation else 0.0
        if voxels is not None and chance < wanted:
            # The class is drawn first, so that a small cochlea is seen as often as a large tumour.
            of_class = voxels[int(place[0] * len(voxels))]
            centre = of_class[int(place[1] * len(of_class))].tolist()
            shift = torch.rand(3, generator=self._generator) - 0.5
            quarter = torch.tensor(self._patch_size) / 2
            centre = (torch.tensor(centre) + (shift * quarter).round()).tolist()
        else:
            centre = [place[i] * (n - 1) for i, n in enumerate(size)]
        return torch.tensor(
            [_inside(c, p, n) for c, p, n in zip(centre, self._patch_size, size, strict=True)]
        )


def _inside(centre: float, patch: int, size: int) -> float:
    """Move a patch's centre so that it lies inside; a patch larger than the volume is centred.

    The result is on the voxel grid: without a turn the patch is cut, not interpolated.
    """
    if patch >= size:
        start = -((patch - size) // 2)
    else:
        start = min(max(round(centre - (patch - 1) / 2), 0), size - patch)
    return start + (patch - 1) / 2


def _cut(volume: Tensor, centre: Tensor, patch_size: tuple[int, int, int]) -> Tensor:
    """Cut a patch from (C, X, Y, Z), with zeros where it reaches over the border."""
    padding: list[int] = []
    slices = [slice(None)]
    for middle, patch, size in zip(centre.tolist(), patch_size, volume.shape[1:], strict=True):
        start = round(middle - (patch - 1) / 2)
        stop = start + patch
        slices.append(slice(max(start, 0), min(stop, size)))
        padding = [max(-start, 0), max(stop - size, 0), *padding]
    cut = volume[tuple(slices)]
    return functional.pad(cut, padding) if any(padding) else cut


def _foreground_voxels(label: Tensor | None) -> list[Tensor] | None:
    """Return for each class that occurs the voxels (N, 3) it has, on the CPU."""
    if label is None:
        return None
    present = [int(value) for value in label.unique().tolist() if value not in (0, IGNORED)]
    voxels = [(label == value).nonzero().cpu() for value in present]
    return voxels or None


class Batches:
    """Named patch samplers drawn from together: `labelled` gives `labelled`, `labelled_label`."""

    def __init__(self, samplers: dict[str, PatchSampler]) -> None:
        self._samplers = samplers

    def draw(self) -> dict[str, Tensor]:
        """Return one training batch."""
        batch = {}
        for name, sampler in self._samplers.items():
            image, label = sampler.draw()
            batch[name] = image
            if label is not None:
                batch[f"{name}_label"] = label
        return batch

    def cases(self) -> int:
        """Return the number of cases of the largest sampler: one epoch's steps."""
        return max(len(sampler.items) for sampler in self._samplers.values())

    def case_ids(self) -> list[str]:
        """Return the case ids of all samplers' items, sorted."""
        return sorted({item.case for one in self._samplers.values() for item in one.items})

    def state_dict(self) -> dict[str, Any]:
        """Return every sampler's state."""
        return {name: sampler.state_dict() for name, sampler in self._samplers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name, sampler in self._samplers.items():
            sampler.load_state_dict(state[name])
