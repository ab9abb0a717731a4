"""CycleGAN: unpaired translation held in place by the way back (Zhu et al. 2017)."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.resnet_generator import ResnetGenerator
from vsuda_cli.training import ranks
from vsuda_cli.training.gan_losses import discriminator_loss, judged
from vsuda_cli.training.image_pool import ImagePool
from vsuda_cli.training.optimising import (
    adam,
    backward,
    load_optimiser,
    mean_losses,
    parts_of,
    set_learning_rate,
    step,
)
from vsuda_cli.training.precision import autocast
from vsuda_cli.training.step_graph import StepGraph
from vsuda_cli.training.translation import (
    build_discriminator,
    build_generator,
    initialised,
    linear_rate,
    side_by_side,
)

if TYPE_CHECKING:
    from vsuda_cli.training.guide import Guide


class CycleGan:
    """Two generators and two discriminators; what is exported is source to target."""

    def __init__(self, settings: TranslationSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        start = torch.Generator().manual_seed(settings.seed)
        self.to_target = initialised(build_generator(settings), start, device, settings)
        self.to_source = initialised(build_generator(settings), start, device, settings)
        self.judge_target = initialised(build_discriminator(settings), start, device, settings)
        self.judge_source = initialised(build_discriminator(settings), start, device, settings)
        self._generators = torch.nn.ModuleList([self.to_target, self.to_source])
        self._judges = torch.nn.ModuleList([self.judge_target, self.judge_source])
        rate, betas = settings.learning_rate, settings.betas
        self._generator_optimiser = adam(
            self._generators.parameters(), device, lr=rate, betas=betas
        )
        self._judge_optimiser = adam(self._judges.parameters(), device, lr=rate, betas=betas)
        self._target_pool = ImagePool(settings.pool_size, settings.seed)
        self._source_pool = ImagePool(settings.pool_size, settings.seed + 1)
        self.guide: Guide | None = None
        self._step = StepGraph(self._learn, settings, device)

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Set the learning rate: constant, then linearly to 0."""
        rate = linear_rate(self._settings, epoch)
        set_learning_rate(self._generator_optimiser, rate)
        set_learning_rate(self._judge_optimiser, rate)
        return {"learning_rate": rate}

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step on `source` and `target` (B, 1, X, Y[, Z]) in [0, 1].

        With a guide, `stack` (B, 1, X, Y, Z) and `stack_label` are source volumes for it.
        """
        fakes = ranks.count() * len(batch["source"])
        draws = {
            "target_pool": self._target_pool.decide(fakes),
            "source_pool": self._source_pool.decide(fakes),
        }
        return self._step(batch, draws)

    def _learn(self, batch: dict[str, Tensor], draws: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = parts_of(batch, self._settings.accumulate)
        fakes, found = [], []
        self._generator_optimiser.zero_grad(set_to_none=True)
        for part in parts:
            source, target = part["source"], part["target"]
            with autocast(self._device, self._settings.mixed_precision):
                fake_target, *same_target = self._translated(self.to_target, source, target)
                fake_source, *same_source = self._translated(self.to_source, target, source)
                losses = self._generator_losses(source, target, fake_target, fake_source)
                if same_target:
                    losses["identity"] = self._identity_loss(
                        source, target, *same_target, *same_source
                    )
            if self.guide is not None:
                stack, labels = part["stack"], part["stack_label"]
                losses["guide"] = self.guide.loss(self.to_target, stack, labels)
            found.append(backward(losses, len(parts)))
            fakes.append((fake_target.detach(), fake_source.detach()))
        step(self._generator_optimiser, self._settings.gradient_clip)

        judged_parts = []
        self._judge_optimiser.zero_grad(set_to_none=True)
        decided = parts_of(draws, self._settings.accumulate)
        for part, (fake_target, fake_source), pools in zip(parts, fakes, decided, strict=True):
            shown = (
                self._target_pool.exchange(fake_target, pools["target_pool"]),
                self._source_pool.exchange(fake_source, pools["source_pool"]),
            )
            losses = self._judge_losses(part, *shown)
            judged_parts.append(backward(losses, len(parts)))
        step(self._judge_optimiser, self._settings.gradient_clip)
        return mean_losses(found) | mean_losses(judged_parts)

    def _judge_losses(
        self, part: dict[str, Tensor], shown_target: Tensor, shown_source: Tensor
    ) -> dict[str, Tensor]:
        with autocast(self._device, self._settings.mixed_precision):
            of_target = side_by_side(self.judge_target, part["target"], shown_target)
            of_source = side_by_side(self.judge_source, part["source"], shown_source)
            return {
                "discriminator_target": discriminator_loss(*of_target),
                "discriminator_source": discriminator_loss(*of_source),
            }

    def _translated(
        self, generator: ResnetGenerator, other: Tensor, own: Tensor
    ) -> tuple[Tensor, ...]:
        """Translate images, and with an identity term those that have the contrast already."""
        given = (other, own) if self._settings.identity_weight > 0 else (other,)
        return side_by_side(generator, *given)

    def _generator_losses(
        self, source: Tensor, target: Tensor, fake_target: Tensor, fake_source: Tensor
    ) -> dict[str, Tensor]:
        """Return the adversarial and the cycle term."""
        weights = self._settings
        # The judges only pass gradients on here; their own weights learn from their own loss.
        self._judges.requires_grad_(False)
        fooled = judged(self.judge_target(fake_target), real=True) + judged(
            self.judge_source(fake_source), real=True
        )
        self._judges.requires_grad_(True)
        cycle = _distance(self.to_source(fake_target), source) + _distance(
            self.to_target(fake_source), target
        )
        return {
            "adversarial": weights.gan_weight * fooled,
            "cycle": weights.cycle_weight * cycle,
        }

    def _identity_loss(
        self, source: Tensor, target: Tensor, same_target: Tensor, same_source: Tensor
    ) -> Tensor:
        """Return the identity term; its weight counts in cycles."""
        weight = self._settings.cycle_weight * self._settings.identity_weight
        return weight * (_distance(same_target, target) + _distance(same_source, source))

    @torch.no_grad()
    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return both ways there and back of the batch's first images."""
        source, target = batch["source"][:1], batch["target"][:1]
        with autocast(self._device, self._settings.mixed_precision):
            fake_target, fake_source = self.to_target(source), self.to_source(target)
            shown = {
                "source": source,
                "pseudo target": fake_target,
                "cycle": self.to_source(fake_target),
                "target": target,
                "pseudo source": fake_source,
                "cycle back": self.to_target(fake_source),
            }
        return {name: picture[0, 0].float() for name, picture in shown.items()}

    def streams(self) -> list[torch.Generator]:
        """Return nothing: what is drawn here is drawn alike in all processes."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and pools."""
        return {
            "generators": self._generators.state_dict(),
            "judges": self._judges.state_dict(),
            "generator_optimiser": self._generator_optimiser.state_dict(),
            "judge_optimiser": self._judge_optimiser.state_dict(),
            "target_pool": self._target_pool.state_dict(),
            "source_pool": self._source_pool.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._generators.load_state_dict(state["generators"])
        self._judges.load_state_dict(state["judges"])
        load_optimiser(self._generator_optimiser, state["generator_optimiser"])
        load_optimiser(self._judge_optimiser, state["judge_optimiser"])
        self._target_pool.load_state_dict(state["target_pool"], self._device)
        self._source_pool.load_state_dict(state["source_pool"], self._device)

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the generator from source to target."""
        return {"generator": self.to_target}


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    # The networks work in [-1, 1], where the published weights belong: twice the distance here.
    return 2 * functional.l1_loss(found.float(), wanted)
