"""Trained generators: from an image of one contrast to its pseudo-image of another."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsuda_cli import config, resolving
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.geometry import Affine
from vsuda_cli.images.resampling import resample_label
from vsuda_cli.networks.contrast_curve import ContrastCurve
from vsuda_cli.networks.passes import Passes
from vsuda_cli.prepared import Prepared, prepare_image
from vsuda_cli.training import checkpoint
from vsuda_cli.training.run import choose_weights
from vsuda_cli.training.translation import (
    SLICES_AT_ONCE,
    TranslationNetwork,
    build_translator,
    translate_volume,
)

# Bytes that one pass takes for each voxel, measured with the paper's networks in 32 bits: from 980
# on large slabs to 1520 on small ones.
GENERATOR_BYTES = 1500


@dataclass(frozen=True)
class Translator:
    """A trained generator with the preprocessing it was trained with."""

    network: TranslationNetwork
    preprocessing: config.Preprocessing
    epoch: int
    device: torch.device
    passes: Passes

    def __call__(
        self, array: NDArray[Any], affine: NDArray[Any]
    ) -> tuple[NDArray[np.float32], Affine]:
        """Return the pseudo-image (X, Y, Z) in [0, 1] on the training grid, and its affine.

        Raises VsudaError for an array that is no finite three-dimensional image.
        """
        image = self.prepare(array, np.asarray(affine, dtype=np.float64))
        return self.pseudo(image).cpu().numpy(), image.affine

    def prepare(self, array: NDArray[Any], affine: Affine, where: object = "image") -> Prepared:
        """Bring an image (X, Y, Z) to the network's grid and intensities, on the CPU."""
        return prepare_image(array, affine, self.preprocessing, where).ready_for(self.device)

    def prepare_label(
        self, array: NDArray[np.uint8], affine: Affine
    ) -> tuple[NDArray[np.uint8], Affine]:
        """Return a label map (X, Y, Z) on the grid of its image's pseudo-image, and the affine."""
        return resample_label(array, affine, self.preprocessing.spacing_mm)

    def pseudo(self, prepared: Prepared, label: NDArray[np.uint8] | None = None) -> Tensor:
        """Return the pseudo-image (X, Y, Z) in [0, 1], on the training grid.

        A curve that draws structures does so where `label` (X, Y, Z), on that grid, has them.
        Raises VsudaError if it needs a label and there is none.
        """
        image = prepared.image_on(self.device)
        if isinstance(self.network, ContrastCurve) and len(self.network.levels):
            if label is None:
                problem = "has no label, and this run draws structures where labels are"
                raise VsudaError(prepared.where, problem, "put the label beside it")
            labels = torch.from_numpy(label).to(self.device)
            return self.network.drawn(image, labels)[0, 0]
        voxels = image.numel()
        if self.network.dims == 2:
            voxels = voxels // image.shape[4] * min(SLICES_AT_ONCE, image.shape[4])
        return self.passes(image, voxels, prepared.where)[0, 0].float()


def load_translator(
    folder: Path, wanted: str, device: torch.device, largest_pass: int = config.LARGEST_PASS
) -> Translator:
    """Load the checkpoint `best`, `last` or N of a run that translates.

    Raises VsudaError if the folder is no such run.
    """
    epoch, weights, metadata = _chosen(folder, wanted)
    # A run of cutseg-train keeps the settings of the translation it started from.
    stored = metadata["translation" if metadata["command"] == "cutseg-train" else "settings"]
    settings = resolving.from_dict(config.TranslationSettings, stored, weights)
    network = build_translator(settings)
    checkpoint.load_weights(weights, {"generator": network})
    network.to(device).eval()
    return make_translator(network, settings, epoch, device, largest_pass)


def target_tag(folder: Path, wanted: str) -> str | None:
    """Return the tag of the images that a run translates to; None of runs that had several.

    Raises VsudaError if the folder is no such run.
    """
    tag: str | None = _chosen(folder, wanted)[2]["target_tag"]
    return tag


def _chosen(folder: Path, wanted: str) -> tuple[int, Path, dict[str, Any]]:
    """Return epoch, weights file and metadata of a checkpoint of a run that translates."""
    epoch, weights = choose_weights(folder, wanted)
    metadata = checkpoint.load_metadata(weights)
    if metadata["command"] not in ("translate-train", "cutseg-train"):
        raise VsudaError(
            folder,
            f"is a run of {metadata['command']}, which does not translate",
            "give a run of translate-train or cutseg-train",
        )
    return epoch, weights, metadata


def make_translator(
    network: TranslationNetwork,
    settings: config.TranslationSettings,
    epoch: int,
    device: torch.device,
    largest_pass: int = config.LARGEST_PASS,
) -> Translator:
    """Return the translator that a network on `device` is, trained with these settings."""
    translate = partial(_translate, network, device, mixed=settings.mixed_precision)
    passes = Passes(translate, settings.patch_size, largest_pass, GENERATOR_BYTES, device)
    return Translator(network, settings.preprocessing, epoch, device, passes)


def _translate(
    network: TranslationNetwork, device: torch.device, images: Tensor, *, mixed: bool
) -> Tensor:
    """Return the translations of images (B, 1, X, Y, Z)."""
    return torch.stack([translate_volume(network, one, device, mixed=mixed) for one in images])
