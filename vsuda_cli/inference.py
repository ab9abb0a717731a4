"""Trained segmenters: from an image to class probabilities on its own grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsuda_cli import config, resolving
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import Affine
from vsuda_cli.networks.passes import Passes
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.prepared import Prepared, prepare_image
from vsuda_cli.training.checkpoint import load_metadata, load_weights
from vsuda_cli.training.device import choose_device
from vsuda_cli.training.exclusion import excluded
from vsuda_cli.training.run import choose_weights
from vsuda_cli.training.segmenter import build_unet, class_probabilities

# Bytes that one pass takes for each voxel, measured with the paper's U-Net in 32 bits: 430.
SEGMENTER_BYTES = 450
SEGMENTERS: dict[str, type[config.SegmentationSettings]] = {
    "seg-train": config.SegmentationSettings,
    "mt-train": config.MeanTeacherSettings,
    "cutseg-train": config.CutSegSettings,
}

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Loaded:
    """The segmentation network of one run, and what the run says about it."""

    network: UNet2d5
    settings: config.SegmentationSettings
    epoch: int
    # Whether the run was trained on crops of single ears.
    crops: bool
    # The tag of the images that it learnt to segment, if they had one.
    tag: str | None = None


@dataclass(frozen=True)
class Segmenter:
    """Trained segmentation networks, averaged, with the preprocessing they were trained with."""

    members: tuple[Loaded, ...]
    device: torch.device
    # Each network's way through an image.
    passes: tuple[Passes, ...]
    # Whether the prediction of the left-right mirrored image is averaged in.
    mirror: bool

    @property
    def settings(self) -> config.SegmentationSettings:
        """The first run's settings; classes and preprocessing are the same in all."""
        return self.members[0].settings

    @property
    def crops(self) -> bool:
        """Whether the runs were trained on crops of single ears."""
        return self.members[0].crops

    def __call__(self, array: NDArray[Any], affine: NDArray[Any]) -> Array:
        """Return class probabilities (X, Y, Z, class), on the grid of the image (X, Y, Z).

        `affine` (4x4) maps voxel indices to RAS mm; of it the spacing matters. Background is
        class 0. Raises VsudaError for an array that is no finite three-dimensional image.
        """
        found = self.probabilities(self.prepare(array, np.asarray(affine, dtype=np.float64)))
        result: Array = found.permute(1, 2, 3, 0).cpu().numpy()
        return result

    def prepare(self, array: NDArray[Any], affine: Affine, where: object = "image") -> Prepared:
        """Bring an image (X, Y, Z) to the networks' grid and intensities, on the CPU."""
        found = prepare_image(array, affine, self.settings.preprocessing, where)
        return found.ready_for(self.device)

    @torch.no_grad()
    def probabilities(self, prepared: Prepared) -> Tensor:
        """Return class probabilities (class, X, Y, Z) on the grid that the image came from.

        They sum to 1 up to rounding: softmax, averages and linear interpolation keep the sum.
        """
        image = prepared.image_on(self.device)
        total: Tensor | None = None
        for member, passes in zip(self.members, self.passes, strict=True):
            found = self._found_by(member, passes, image, prepared.where)
            total = found if total is None else total.to(found.device) + found
        if total is None:
            raise ValueError("a segmenter needs one network or more")
        mean = total[0] / len(self.members)
        return _to_grid(mean, prepared, self.settings.preprocessing.spacing_mm)

    def _found_by(self, member: Loaded, passes: Passes, image: Tensor, where: object) -> Tensor:
        """Return one run's probabilities (1, class, X, Y, Z) for an image (1, 1, X, Y, Z)."""
        found = passes(image, image.numel(), where)
        if self.mirror:
            mirrored = passes(image.flip(2), image.numel(), where).flip(2)
            # A pass that memory fails in ends on the host.
            found = (found.to(mirrored.device) + mirrored) / 2
        return _without_excluded(found, image.to(found.device), member.settings)


def load_run(
    folder: str | Path,
    *,
    ensemble: Sequence[str | Path] = (),
    checkpoint: str = "best",
    device: str = "auto",
    mirror: bool = False,
    largest_pass: int = 0,
) -> Segmenter:
    """Return the function from image to class probabilities that a run has learnt.

    `ensemble` names more runs, whose probabilities are averaged with the first one's; `checkpoint`
    is `best`, `last` or an epoch, in every run; `mirror` averages with the mirrored image's
    result. Images go through in overlapping windows of each run's patch size, for a network knows
    that extent alone; those of up to `largest_pass` voxels whole. On a GPU one thread at a time may
    call the function.

    Raises VsudaError if a folder is no run that segments, or if the runs differ in their classes,
    their preprocessing, or in what they were trained on.
    """
    chosen_device = choose_device(device)
    folders = [Path(folder), *map(Path, ensemble)]
    members = tuple(load_network(one, checkpoint, chosen_device) for one in folders)
    for other, member in zip(folders[1:], members[1:], strict=True):
        _refuse_different(folders[0], members[0], other, member)
    return make_segmenter(members, chosen_device, mirror, largest_pass)


def make_segmenter(
    members: tuple[Loaded, ...], device: torch.device, mirror: bool = False, largest_pass: int = 0
) -> Segmenter:
    """Return the average of networks on `device`; the other arguments are `load_run`'s."""
    passes = tuple(
        Passes(
            partial(
                class_probabilities, member.network, device, mixed=member.settings.mixed_precision
            ),
            member.settings.patch_size,
            largest_pass,
            SEGMENTER_BYTES,
            device,
        )
        for member in members
    )
    return Segmenter(members, device, passes, mirror)


def load_network(folder: Path, wanted: str, device: torch.device) -> Loaded:
    """Load the checkpoint `best`, `last` or N of one run that segments.

    Raises VsudaError if the folder is no such run.
    """
    epoch, weights = choose_weights(folder, wanted)
    metadata = load_metadata(weights)
    settings = segmenter_settings(folder, weights, metadata)
    network = build_unet(settings.unet, len(settings.classes) + 1)
    load_weights(weights, {"segmenter": network})
    network.to(device).eval()
    crops, tag = bool(metadata.get("crops", False)), metadata.get("target_tag")
    return Loaded(network, settings, epoch, crops, tag)


def segmenter_settings(
    folder: Path, weights: Path, metadata: dict[str, Any]
) -> config.SegmentationSettings:
    """Return the settings that weights were trained with; raises VsudaError if they do not segment.

    `metadata` is the weights' own.
    """
    kind = SEGMENTERS.get(metadata["command"])
    if kind is None:
        raise VsudaError(
            folder,
            f"is a run of {metadata['command']}, which does not segment",
            f"give a run of {', '.join(SEGMENTERS)}",
        )
    return resolving.from_dict(kind, metadata["settings"], weights)


def _refuse_different(first: Path, one: Loaded, folder: Path, other: Loaded) -> None:
    mine, its = (
        {
            "classes": list(run.settings.classes),
            "preprocessing": resolving.to_dict(run.settings.preprocessing),
            "crops": run.crops,
        }
        for run in (one, other)
    )
    changes = resolving.differences(its, mine)
    if changes:
        problem = f"was trained otherwise than {first} (its -> that one's: {', '.join(changes)})"
        raise VsudaError(folder, problem, "average runs of the same kind, or fuse predictions")


def _without_excluded(
    found: Tensor, image: Tensor, settings: config.SegmentationSettings
) -> Tensor:
    """Return probabilities (1, class, X, Y, Z) that are 0 where the intensity says so.

    Where the run was trained with `exclude_by_intensity`; the background gets what is taken.
    """
    if not settings.exclude_by_intensity:
        return found
    nowhere = excluded(image[0], settings.structure_ranges)
    structures = found[:, 1:].masked_fill(nowhere, 0)
    # Rounding alone takes their sum above 1.
    background = (1 - structures.sum(dim=1, keepdim=True)).clamp_min(0)
    return torch.cat([background, structures], dim=1)


def _to_grid(maps: Tensor, to: Prepared, spacing_mm: Sequence[float]) -> Tensor:
    """Interpolate maps (C, x, y, z) linearly, axis by axis, on the grid (X, Y, Z) of `to`.

    Both grids share their directions and their centre (see `grid_at_spacing`). Beyond the
    outermost voxel centres the border's values go on.
    """
    for axis, (new_size, new_mm, old_mm) in enumerate(
        zip(to.shape, to.spacing_mm, spacing_mm, strict=True), start=1
    ):
        ratio = float(new_mm / old_mm)
        neighbours = _neighbours(maps.shape[axis], new_size, ratio, maps.device)
        if neighbours is None:
            continue
        low, high, weight = neighbours
        before, after = maps.index_select(axis, low), maps.index_select(axis, high)
        maps = before.lerp(after, weight.view([-1 if n == axis else 1 for n in range(4)]))
    return maps


# Crops of one study share their grids, and on a GPU every upload waits for what runs there.
@lru_cache(maxsize=64)
def _neighbours(
    old_size: int, new_size: int, ratio: float, device: torch.device
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return, for each new voxel along an axis, the old ones beside it and the second one's share.

    None where the grids are the same.
    """
    steps = np.arange(new_size) - (new_size - 1) / 2
    index = np.clip(steps * ratio + (old_size - 1) / 2, 0, old_size - 1)
    # Float32 headers leave noise in a spacing that is the same.
    index = np.round(index, 6)
    low = np.floor(index).astype(np.int64)
    if new_size == old_size and (index == low).all():
        return None
    high = np.minimum(low + 1, old_size - 1)
    share = torch.from_numpy((index - low).astype(np.float32))
    return torch.from_numpy(low).to(device), torch.from_numpy(high).to(device), share.to(device)
