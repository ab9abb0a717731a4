"""Mean teacher: a student learns from labels and from agreeing with its own moving average."""

import copy
import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vsuda_cli.config import MeanTeacherSettings
from vsuda_cli.networks.unet2d5 import UNet2d5
from vsuda_cli.training.augmentation import augment_intensity
from vsuda_cli.training.precision import autocast, made_fast
from vsuda_cli.training.segmentation import Segmentation
from vsuda_cli.training.segmentation_loss import counted_cross_entropy


class MeanTeacher(Segmentation):
    """The objective of `mt-train`; what is validated, saved and exported is the teacher.

    After Tarvainen and Valpola 2017. Labelled patches are pseudo target images, unlabelled ones
    real target images that student and teacher see with different random intensities.
    """

    _settings: MeanTeacherSettings

    def __init__(self, settings: MeanTeacherSettings, device: torch.device) -> None:
        super().__init__(settings, device)
        # On the device, for a recorded step to read.
        self._weight = torch.zeros((), device=device)
        self._ema_limit = settings.ema_decay_start
        self._updates = 0
        self.start_from_student()

    def start_from_student(self) -> None:
        """Make the teacher equal to the student, also after initial weights were loaded."""
        self.teacher = made_fast(_frozen_copy(self.network), self._settings)

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Set the learning rate, the consistency weight's ramp and the EMA's largest decay."""
        rates, chosen = super().set_epoch(epoch), self._settings
        ramp_epochs = chosen.consistency_ramp * chosen.epochs
        progress = epoch / ramp_epochs if ramp_epochs > 0 else 1.0
        weight = chosen.consistency_weight * ramp(progress)
        self._weight.fill_(weight)
        # A short memory while the student still changes fast, a long one afterwards.
        ramping = progress < 1
        self._ema_limit = chosen.ema_decay_start if ramping else chosen.ema_decay_end
        return {**rates, "consistency_weight": weight}

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step on `labelled`, `labelled_label` and `unlabelled` (B, 1, X, Y, Z).

        `unlabelled_label` (B, X, Y, Z), if there is one, holds what is known of these, 255 where
        nothing is. Patches `grafted`, if there are any, are learnt from like labelled ones.
        """
        found = super().update(batch)
        self._updates += 1
        update_average(self.teacher, self.network, ema_decay(self._updates, self._ema_limit))
        return found

    def _shown(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        shown, ranges = super()._shown(part), self._settings.augmentation
        for who in ("student", "teacher"):
            shown[who] = augment_intensity(part["unlabelled"], ranges, self._generator)
        if "unlabelled_label" in part:
            shown["known"] = part["unlabelled_label"]
        return shown

    def _losses(self, part: dict[str, Tensor]) -> dict[str, Tensor]:
        with autocast(self._device, self._settings.mixed_precision):
            losses = super()._losses(part)
            logits = self.network(part["student"]).float()
            with torch.no_grad():
                teacher = self._opinion(part["teacher"])
        losses["consistency"] = self._weight * (logits.softmax(dim=1) - teacher).square().mean()
        if "known" in part:
            losses["known"] = counted_cross_entropy(logits, part["known"].long())
        return losses

    def _opinion(self, images: Tensor) -> Tensor:
        """Return the teacher's probabilities, of the left-right mirrored images if so set."""
        mirrored = self._settings.mirror_consistency
        logits: Tensor = self.teacher(images.flip(2) if mirrored else images)
        probabilities = logits.float().softmax(dim=1)
        return probabilities.flip(2) if mirrored else probabilities

    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the teacher makes of a labelled and an unlabelled patch."""
        labelled, real = batch["labelled"][:1], batch["unlabelled"][:1]
        return {
            "pseudo": labelled[0, 0],
            "label": batch["labelled_label"][0],
            "teacher on pseudo": self.found_by(self.teacher, labelled)[0],
            "real": real[0, 0],
            "teacher on real": self.found_by(self.teacher, real)[0],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return student, teacher, optimiser and the number of updates."""
        own = {"teacher": self.teacher.state_dict(), "updates": self._updates}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        super().load_state_dict(state)
        self.teacher.load_state_dict(state["teacher"])
        self._updates = state["updates"]

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the teacher as the segmenter."""
        return {"segmenter": self.teacher}


def ramp(progress: float) -> float:
    """Return exp(-5 (1 - t)^2) for t from 0 to 1, and 1 beyond (Laine and Aila 2017)."""
    return math.exp(-5 * (1 - min(progress, 1.0)) ** 2)


def ema_decay(updates: int, limit: float) -> float:
    """Return min(1 - 1 / (t + 1), limit): early on the average forgets its start quickly."""
    return min(1 - 1 / (updates + 1), limit)


@torch.no_grad()
def update_average(average: torch.nn.Module, current: torch.nn.Module, decay: float) -> None:
    """Move the average's parameters towards the current ones; buffers follow too."""
    means: list[Tensor] = list(average.parameters())
    values: list[Tensor] = list(current.parameters())
    for followed, buffer in zip(average.buffers(), current.buffers(), strict=True):
        if followed.is_floating_point():
            means.append(followed)
            values.append(buffer)
        else:
            followed.copy_(buffer)
    get_ema_multi_avg_fn(decay)(means, values, None)


def _frozen_copy(network: UNet2d5) -> UNet2d5:
    teacher = copy.deepcopy(network)
    teacher.requires_grad_(False)
    # Dropout is a noise for the student; the teacher's opinion is its average.
    return teacher.eval()
