"""A run's folder becomes a function from volume to class probabilities, or to a pseudo-image."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from vsuda_cli import config
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.preprocessing import prepare
from vsuda_cli.images.resampling import resample_label, resample_to_grid
from vsuda_cli.io.nifti import Volume
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training import checkpoint, translation
from vsuda_cli.training.precision import autocast
from vsuda_cli.training.run import choose_weights, metadata_of
from vsuda_cli.training.segmentation import build_unet

logger = logging.getLogger(__name__)

# Windows overlap by half and are blended, so that no seam is seen.
WINDOW_OVERLAP = 0.5

Array = NDArray[np.float32]
Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Segmenter:
    """A trained segmentation network with the preprocessing it was trained with."""

    network: UNet2d5
    settings: config.SegmentationSettings
    epoch: int
    device: torch.device
    # Voxels that go through the network at once; more go through in overlapping windows.
    largest_pass: int
    # Whether the prediction of the left-right mirrored image is averaged in.
    mirror: bool

    def probabilities(self, volume: Volume) -> Array:
        """Return class probabilities (X, Y, Z, class) on the grid of `volume`."""
        array, affine = prepare(volume.array, volume.affine, self.settings.preprocessing)
        image = torch.from_numpy(array)[None, None].to(self.device)
        found = self._softmax(image)
        if self.mirror:
            found = (found + self._softmax(image.flip(2)).flip(2)) / 2
        maps = found[0].float().cpu().numpy()
        shape = (volume.shape[0], volume.shape[1], volume.shape[2])
        on_grid = [resample_to_grid(one, affine, shape, volume.affine, 1) for one in maps]
        stacked = np.stack(on_grid, axis=-1).astype(np.float32)
        # Linear interpolation keeps the sum at 1 but for the rim, where the grids do not overlap.
        total = stacked.sum(axis=-1, keepdims=True)
        stacked[..., 0:1] += np.maximum(1 - total, 0)
        normalised: Array = stacked / stacked.sum(axis=-1, keepdims=True)
        return normalised

    @torch.no_grad()
    def _softmax(self, image: Tensor) -> Tensor:
        with autocast(self.device):
            if image.numel() <= self.largest_pass:
                return self._window(image)
            return _in_windows(image, self.settings.patch_size, self._window)

    def _window(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits.float().softmax(dim=1)


@dataclass(frozen=True)
class Translator:
    """A trained generator with the preprocessing it was trained with."""

    network: translation.Translator
    preprocessing: config.Preprocessing
    patch_size: config.Size
    epoch: int
    device: torch.device
    largest_pass: int

    @torch.no_grad()
    def translate(self, volume: Volume) -> tuple[Array, Affine]:
        """Return the pseudo-image (X, Y, Z) in [0, 1] on the training grid, and its affine."""
        array, affine = prepare(volume.array, volume.affine, self.preprocessing)
        image = torch.from_numpy(array)[None, None].to(self.device)
        with autocast(self.device):
            if self.network.dims == 2 or image.numel() <= self.largest_pass:
                pseudo = translation.translate_volume(self.network, image[0], self.device)[0]
            else:
                pseudo = _in_windows(image, self.patch_size, self.network)[0, 0]
        result: Array = pseudo.float().cpu().numpy()
        return result, affine

    def translate_label(self, label: Volume) -> tuple[NDArray[np.uint8], Affine]:
        """Return a label map on the grid of its image's pseudo-image, and the affine."""
        return resample_label(label.array, label.affine, self.preprocessing.spacing_mm)


def load_segmenter(
    folder: Path, wanted: str, device: torch.device, *, largest_pass: int, mirror: bool
) -> Segmenter:
    """Load the checkpoint `best`, `last` or N of a run that segments.

    Raises VsudaError if the folder is no such run.
    """
    epoch, weights, metadata = _checkpoint(folder, wanted)
    kinds: dict[str, type[config.SegmentationSettings]] = {
        "seg-train": config.SegmentationSettings,
        "mt-train": config.MeanTeacherSettings,
        "cutseg-train": config.CutSegSettings,
    }
    kind = kinds.get(metadata["command"])
    if kind is None:
        raise VsudaError(
            folder,
            f"is a run of {metadata['command']}, which does not segment",
            f"give a run of {', '.join(kinds)}",
        )
    settings = config.from_dict(kind, metadata["settings"], weights)
    network = build_unet(settings.unet, len(settings.classes) + 1)
    checkpoint.load_weights(weights, {"segmenter": network})
    network.to(device).eval()
    return Segmenter(network, settings, epoch, device, largest_pass, mirror)


def load_translator(
    folder: Path, wanted: str, device: torch.device, *, largest_pass: int
) -> Translator:
    """Load the checkpoint `best`, `last` or N of a run that translates.

    Raises VsudaError if the folder is no such run.
    """
    epoch, weights, metadata = _checkpoint(folder, wanted)
    # A run of cutseg-train keeps the settings of the translation it started from.
    stored = metadata["translation" if metadata["command"] == "cutseg-train" else "settings"]
    if metadata["command"] not in ("translate-train", "cutseg-train"):
        raise VsudaError(
            folder,
            f"is a run of {metadata['command']}, which does not translate",
            "give a run of translate-train or cutseg-train",
        )
    settings = config.from_dict(config.TranslationSettings, stored, weights)
    network = translation.build_translator(settings)
    checkpoint.load_weights(weights, {"generator": network})
    network.to(device).eval()
    return Translator(
        network, settings.preprocessing, settings.patch_size, epoch, device, largest_pass
    )


def _checkpoint(folder: Path, wanted: str) -> tuple[int, Path, dict[str, Any]]:
    epoch, weights = choose_weights(folder, wanted)
    return epoch, weights, metadata_of(weights)


def _in_windows(image: Tensor, window: config.Size, network: Any) -> Tensor:
    result: Tensor = sliding_window_inference(
        image,
        roi_size=window,
        sw_batch_size=1,
        predictor=network,
        overlap=WINDOW_OVERLAP,
        mode="gaussian",
    )
    return result
