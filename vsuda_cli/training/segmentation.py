"""Supervised segmentation."""

from typing import Any

import torch
from torch import Tensor

from vsuda_cli.config import SegmentationSettings
from vsuda_cli.networks.contrast_curve import hide_structures, smooth_in_plane
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training.augmentation import (
    augment_intensity,
    mirror_some,
    noise_level,
    scale_structures,
)
from vsuda_cli.training.contrast_prior import CurvePrior
from vsuda_cli.training.lesions import is_one_of
from vsuda_cli.training.optimising import (
    adam,
    backward,
    load_optimiser,
    mean_losses,
    parts_of,
    put_together,
    set_learning_rate,
    step,
)
from vsuda_cli.training.precision import autocast, made_fast
from vsuda_cli.training.random_contrast import draw_structures, random_contrast
from vsuda_cli.training.segmentation_loss import segmentation_losses
from vsuda_cli.training.segmenter import build_unet, predict_classes
from vsuda_cli.training.step_graph import StepGraph


class Segmentation:
    """The objective of `seg-train`."""

    def __init__(self, settings: SegmentationSettings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self._settings = settings
        self._device = device
        network = build_unet(settings.unet, len(settings.classes) + 1)
        self.network = made_fast(network.to(device), settings)
        self.optimiser = adam(
            self.network.parameters(),
            device,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self._generator = torch.Generator(device).manual_seed(settings.seed)
        self._step = StepGraph(self._learn, settings, device)
        # What is known of the curve from the labelled images' contrast to the one to be segmented.
        self.contrast = CurvePrior()
        # Which labels are drawn in `grafted` images.
        self.lesions: list[int] = []

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Set the polynomially falling learning rate."""
        rate = polynomial_rate(self._settings, epoch)
        set_learning_rate(self.optimiser, rate)
        return {"learning_rate": rate}

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step on `labelled` (B, 1, X, Y, Z) and `labelled_label` (B, X, Y, Z)."""
        parts = parts_of(batch, self._settings.accumulate)
        return self._step(put_together([self._shown(part) for part in parts]), {})

    def _shown(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the network gets to see of a part of a batch."""
        images, labels = self.augmented(part)
        return {"images": images, "labels": labels}

    def _learn(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        parts = parts_of(batch, self._settings.accumulate)
        found = [backward(self._losses(part), len(parts)) for part in parts]
        step(self.optimiser, self._settings.gradient_clip)
        return mean_losses(found)

    def _losses(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        with autocast(self._device, self._settings.mixed_precision):
            weight = self._settings.unet.attention_weight
            return segmentation_losses(self.network, part["images"], part["labels"], weight)

    def augmented(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the labelled images with random intensities, and their labels.

        Target images with pseudo-labels, or of which some is background for certain, follow them;
        they have the contrast to be segmented already. So do those with `grafted` lesions, which
        alone are drawn anew.
        """
        images, labels = batch["labelled"], batch["labelled_label"]
        varied = vary_intensity(images, labels, self._settings, self._generator, self.contrast)
        if "pseudo" in batch:
            real = augment_intensity(batch["pseudo"], self._settings.augmentation, self._generator)
            varied = torch.cat([varied, real])
            labels = torch.cat([labels, batch["pseudo_label"]])
        if "grafted" in batch:
            drawn = self.drawn_grafts(batch["grafted"], batch["grafted_label"])
            varied, labels = torch.cat([varied, drawn]), torch.cat([labels, batch["grafted_label"]])
        if self._settings.mirror_share > 0:
            return mirror_some(varied, labels, self._settings.mirror_share, self._generator)
        return varied, labels

    def drawn_grafts(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return target images (B, 1, X, Y, Z) with the lesions grafted into them drawn anew.

        Lesions come with another contrast's intensities. All intensities vary, as in `augmented`.
        """
        ranges = self._settings.structure_ranges
        only = torch.where(is_one_of(labels, self.lesions), labels, 0)
        drawn = draw_structures(
            hide_structures(images, only), images, only, ranges, self._generator
        )
        # What is drawn is smooth: without the image's noise that would give it away.
        lesion = (only > 0)[:, None].to(images.dtype)
        grain = torch.randn(images.shape, generator=self._generator, device=images.device)
        noise = noise_level(images * (1 - lesion)) * grain
        shown = (drawn + smooth_in_plane(lesion, (2, 3), passes=1) * noise).clamp(0, 1)
        return augment_intensity(shown, self._settings.augmentation, self._generator)

    def found_by(self, network: UNet2d5, images: Tensor) -> Tensor:
        """Return the classes (B, X, Y, Z) that a network of this run finds in images."""
        return predict_classes(network, images, self._device, mixed=self._settings.mixed_precision)

    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return image, label and prediction of the first patch, as it is trained on.

        Also of the last `grafted` one, if any: the slice with most of the lesion.
        """
        before = self._generator.get_state()
        images, labels = self.augmented(batch)
        # A look must not move the draws to come.
        self._generator.set_state(before)
        found = self.found_by(self.network, torch.stack([images[0], images[-1]]))
        shown = {"image": images[0, 0], "label": labels[0], "prediction": found[0]}
        if "grafted" in batch:
            z = int(is_one_of(labels[-1], self.lesions).sum(dim=(0, 1)).argmax())
            shown["grafted"] = images[-1, 0, ..., z]
            shown["grafted label"] = labels[-1, ..., z]
            shown["grafted prediction"] = found[-1, ..., z]
        return shown

    def streams(self) -> list[torch.Generator]:
        """Return the generator of intensities."""
        return [self._generator]

    def state_dict(self) -> dict[str, Any]:
        """Return network and optimiser."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        load_optimiser(self.optimiser, state["optimiser"])

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the segmenter."""
        return {"segmenter": self.network}


def vary_intensity(
    images: Tensor,
    labels: Tensor,
    settings: SegmentationSettings,
    generator: torch.Generator,
    contrast: CurvePrior,
) -> Tensor:
    """Return labelled images (B, 1, X, Y, Z) in [0, 1] with random intensities.

    What the settings switch on, from the labelled structures' own intensities to the whole image's;
    `contrast` is what is known of the curve that they go through.
    """
    if settings.structure_factors:
        images = scale_structures(images, labels, settings.structure_factors, generator)
    if settings.curve_share > 0 or settings.structure_share > 0:
        images = random_contrast(
            images,
            labels,
            curve_share=settings.curve_share,
            structure_share=settings.structure_share,
            ranges=settings.structure_ranges or ((0.0, 1.0),) * len(settings.classes),
            prior=contrast,
            generator=generator,
        )
    return augment_intensity(images, settings.augmentation, generator)


def polynomial_rate(settings: SegmentationSettings, epoch: int) -> float:
    """Return the learning rate of an epoch: lr (1 - epoch / epochs)^power."""
    return float(settings.learning_rate * (1 - epoch / settings.epochs) ** settings.decay_power)
