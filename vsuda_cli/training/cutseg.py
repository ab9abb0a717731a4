"""CutSeg: contrastive translation and segmentation trained end to end (Li et al. 2021)."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vsuda_cli.config import CutSegSettings, TranslationSettings
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training import ranks
from vsuda_cli.training.augmentation import augment_intensity, mirror_some
from vsuda_cli.training.contrast_prior import CurvePrior
from vsuda_cli.training.cut import Cut
from vsuda_cli.training.optimising import (
    backward,
    mean_losses,
    parts_of,
    put_together,
    step,
)
from vsuda_cli.training.precision import autocast, made_fast
from vsuda_cli.training.segmentation import Segmentation, polynomial_rate, vary_intensity
from vsuda_cli.training.segmentation_loss import counted_cross_entropy, segmentation_losses
from vsuda_cli.training.step_graph import StepGraph
from vsuda_cli.training.translation import as_slices, translate_stack


class CutSeg:
    """The objective of `cutseg-train`: a CUT and a segmentation objective under one loss.

    A stack of source slices is translated and segmented as a volume, so that the segmentation loss
    reaches the generator; some of its slices take part in CUT's own losses. `teacher`, a segmenter
    from an earlier run, says what real target volumes should look like; it never learns.
    """

    def __init__(
        self,
        settings: CutSegSettings,
        translation: TranslationSettings,
        teacher: UNet2d5 | None,
        device: torch.device,
    ) -> None:
        self._settings = settings
        self._device = device
        self.segmentation = Segmentation(settings, device)
        # What it draws, and how it is calculated, is this run's choice, not that of the one before.
        own = ("seed", "mixed_precision", "channels_last", "compile_blocks", "gradient_clip")
        changed: dict[str, Any] = {name: getattr(settings, name) for name in own}
        self.cut = Cut(replace(translation, **changed), device)
        self._teacher = teacher
        if teacher is not None:
            made_fast(teacher.requires_grad_(False).eval(), settings)
        self._slices = torch.Generator().manual_seed(settings.seed)
        self._intensities = torch.Generator(device).manual_seed(settings.seed)
        self._step = StepGraph(self._learn, settings, device, [self._intensities])

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Set the learning rates; the translation's falls as the segmenter's."""
        rates = self.segmentation.set_epoch(epoch)
        share = polynomial_rate(self._settings, epoch) / self._settings.learning_rate
        self.cut.set_rate(self._settings.translation_rate * share)
        return {**rates, "translation_rate": self._settings.translation_rate * share}

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step on `source`, `source_label` and `target` (B, 1, X, Y, Z).

        `target_label` (B, X, Y, Z), if there is one, says what is known of targets; `grafted` and
        `grafted_label` are targets with lesions grafted into them, if any.
        """
        shown = []
        for part in parts_of(batch, self._settings.accumulate):
            source, target = self._some_slices(part["source"]), self._some_slices(part["target"])
            shown.append({"source_slices": source, "target_slices": target})
            if "grafted" in part:
                drawn = self.segmentation.drawn_grafts(part["grafted"], part["grafted_label"])
                shown[-1]["grafted"] = drawn
        given = {**batch, **put_together(shown)}
        return self._step(given, *self.cut.draw(given["source_slices"]))

    def _learn(
        self, batch: dict[str, Tensor], draws: dict[str, Tensor], flipped: bool
    ) -> dict[str, Tensor]:
        parts = parts_of(batch, self._settings.accumulate)
        pairs = [(part["source_slices"], part["target_slices"]) for part in parts]
        discriminator, translations = self.cut.begin_step(pairs, draws["pool"], flipped)
        self.cut.zero_grad()
        self.segmentation.optimiser.zero_grad(set_to_none=True)
        found = []
        for part, translated in zip(parts, translations, strict=True):
            losses = self.cut.generator_losses(translated, draws)
            losses |= self._segmentation_losses(part)
            losses |= self._target_losses(part["target"], part.get("target_label"))
            found.append(backward(losses, len(parts)))
        step(self.segmentation.optimiser, self._settings.gradient_clip)
        self.cut.step()
        return {**mean_losses(found), "discriminator": discriminator}

    def _segmentation_losses(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of segmenting the translated stack; it reaches both networks.

        And of segmenting `grafted` targets, in one batch with it.
        """
        network, labels = self.segmentation.network.train(), part["source_label"]
        with autocast(self._device, self._settings.mixed_precision):
            chunk = self._settings.slice_chunk
            pseudo = translate_stack(self.cut.generator, part["source"], chunk)
            # Pseudo-images have the contrast to be segmented: no curve leads there from them.
            shown = vary_intensity(
                pseudo.float(), labels, self._settings, self._intensities, CurvePrior()
            )
            if "grafted" in part:
                shown = torch.cat([shown, part["grafted"]])
                labels = torch.cat([labels, part["grafted_label"]])
            if self._settings.mirror_share > 0:
                share = self._settings.mirror_share
                shown, labels = mirror_some(shown, labels, share, self._intensities)
            losses = segmentation_losses(
                network, shown, labels, self._settings.unet.attention_weight
            )
        weight = self._settings.segmentation_weight
        return {name: weight * loss for name, loss in losses.items()}

    def _target_losses(self, target: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """Return what real targets teach: the teacher's opinion, and what is known of them.

        `auxiliary` is the mean absolute difference to the teacher's probabilities.
        """
        teacher = self._teacher if self._settings.auxiliary_weight > 0 else None
        if teacher is None and labels is None:
            return {}
        varied = augment_intensity(target, self._settings.augmentation, self._intensities)
        with autocast(self._device, self._settings.mixed_precision):
            own: Tensor = self.segmentation.network(varied).float()
        losses = {}
        if teacher is not None:
            with torch.no_grad(), autocast(self._device, self._settings.mixed_precision):
                wanted: Tensor = teacher(target)
            difference = own.softmax(dim=1) - wanted.float().softmax(dim=1)
            losses["auxiliary"] = self._settings.auxiliary_weight * difference.abs().mean()
        if labels is not None:
            losses["known"] = counted_cross_entropy(own, labels.long())
        return losses

    def _some_slices(self, stack: Tensor) -> Tensor:
        """Return randomly chosen slices (B * S, 1, X, Y), S from each stack of (B, 1, X, Y, Z).

        They are drawn for the stacks of all processes, of which each takes its own.
        """
        drawn = [
            torch.randperm(stack.shape[-1], generator=self._slices)[: self._settings.gan_slices]
            for _ in range(len(stack) * ranks.count())
        ]
        chosen = ranks.own_share(torch.stack(drawn)).to(stack.device)
        return torch.cat(
            [as_slices(one[None])[where] for one, where in zip(stack, chosen, strict=True)]
        )

    @torch.no_grad()
    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return source, pseudo-target, labels and predictions of the batch's first patches."""
        source, target = batch["source"][:1], batch["target"][:1]
        with autocast(self._device, self._settings.mixed_precision):
            pseudo = translate_stack(self.cut.generator, source, self._settings.slice_chunk)
        found = partial(self.segmentation.found_by, self.segmentation.network)
        return {
            "source": source[0, 0],
            "pseudo target": pseudo[0, 0].float(),
            "label": batch["source_label"][0],
            "on pseudo": found(pseudo.float())[0],
            "target": target[0, 0],
            "on target": found(target)[0],
        }

    def streams(self) -> list[torch.Generator]:
        """Return the generators of intensities."""
        return [*self.segmentation.streams(), self._intensities]

    def state_dict(self) -> dict[str, Any]:
        """Return both objectives and the choice of slices."""
        return {
            "segmentation": self.segmentation.state_dict(),
            "cut": self.cut.state_dict(),
            "slices": self._slices.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.segmentation.load_state_dict(state["segmentation"])
        self.cut.load_state_dict(state["cut"])
        self._slices.set_state(state["slices"])

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the segmenter, and the networks of CUT."""
        return {
            **self.segmentation.models_for_inference(),
            **self.cut.models_for_inference(),
        }
