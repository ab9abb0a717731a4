"""CUT and FastCUT: one-sided translation held in place by contrast (Park et al. 2020)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.patch_sampler import PatchSampler, draw_positions
from vsuda_cli.training.gan_losses import discriminator_loss, judged
from vsuda_cli.training.guide import Guide
from vsuda_cli.training.image_pool import ImagePool
from vsuda_cli.training.optimising import (
    backward,
    mean_losses,
    parts_of,
    set_learning_rate,
    step,
)
from vsuda_cli.training.patch_nce import mean_patch_nce
from vsuda_cli.training.precision import autocast
from vsuda_cli.training.translation import (
    build_discriminator,
    build_generator,
    initialised,
    linear_rate,
)

# Left-right, the axis that a flip keeps plausible.
FLIP_AXIS = 2


@dataclass(frozen=True)
class Translated:
    """A batch through the generator, with the encoder's features of what went in.

    `identity` is the translation of the target itself, None when that term is off. A `flipped`
    pseudo-image was made from the mirrored source, whose features are those of the unmirrored.
    """

    pseudo: Tensor
    source_keys: list[Tensor]
    identity: Tensor | None
    target_keys: list[Tensor]
    flipped: bool


class Cut:
    """The objective of CUT; with `flip_equivariance` and no identity term, that of FastCUT."""

    def __init__(self, settings: TranslationSettings, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        start = torch.Generator().manual_seed(settings.seed)
        generator = build_generator(settings)
        channels = generator.feature_channels(settings.nce_layers)
        self.generator = initialised(generator, start, device, settings)
        self.discriminator = initialised(build_discriminator(settings), start, device, settings)
        sampler = PatchSampler(channels, settings.nce_width)
        self.patch_sampler = initialised(sampler, start, device, settings)
        learners = [*self.generator.parameters(), *self.patch_sampler.parameters()]
        self._generator_optimiser = torch.optim.Adam(
            learners, settings.learning_rate, settings.betas
        )
        self._discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), settings.learning_rate, settings.betas
        )
        self._pool = ImagePool(settings.pool_size, settings.seed)
        self._random = torch.Generator().manual_seed(settings.seed)
        self.guide: Guide | None = None

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Set the learning rate: constant, then linearly to 0."""
        rate = linear_rate(self._settings, epoch)
        self.set_rate(rate)
        return {"learning_rate": rate}

    def set_rate(self, rate: float) -> None:
        """Set one learning rate for all networks."""
        set_learning_rate(self._generator_optimiser, rate)
        set_learning_rate(self._discriminator_optimiser, rate)

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step on `source` and `target` (B, 1, X, Y[, Z]) in [0, 1].

        With a guide, `stack` (B, 1, X, Y, Z) and `stack_label` are source volumes for it.
        """
        parts = parts_of(batch, self._settings.accumulate)
        pairs = [(part["source"], part["target"]) for part in parts]
        discriminator, translations = self.begin_step(pairs)
        self.zero_grad()
        found = []
        for part, translated in zip(parts, translations, strict=True):
            losses = self.generator_losses(translated)
            if self.guide is not None:
                stack, labels = part["stack"], part["stack_label"]
                losses["guide"] = self.guide.loss(self.generator, stack, labels)
            found.append(backward(losses, len(parts)))
        self.step()
        return {"discriminator": discriminator, **mean_losses(found)}

    def begin_step(self, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Iterator[Translated]]:
        """Let the discriminator learn from pairs (source, target), the parts of one batch.

        Returns its loss, and the pairs' translations for the generator's losses. A single pair goes
        through the generator once, for both. The graphs of several would not fit in the memory that
        parts are to save: each is translated once more when its turn comes, with the same random
        numbers for every part, as if they were one batch.
        """
        if len(pairs) == 1:
            only = self.translate(*pairs[0])
            return self.update_discriminator([(pairs[0][1], only.pseudo.detach())]), iter([only])
        start = self._random.get_state()

        def again() -> Iterator[Translated]:
            for pair in pairs:
                self._random.set_state(start)
                yield self.translate(*pair)

        with torch.no_grad():
            fakes = [(pair[1], made.pseudo) for pair, made in zip(pairs, again(), strict=True)]
        return self.update_discriminator(fakes), again()

    def translate(self, source: Tensor, target: Tensor) -> Translated:
        """Send a batch (B, 1, X, Y[, Z]) through the generator, once, with its features."""
        layers = self._settings.nce_layers
        flipped = self._settings.flip_equivariance and bool(
            torch.rand(1, generator=self._random) < 0.5
        )
        with autocast(self._device, self._settings.mixed_precision):
            if flipped:
                pseudo = self.generator(source.flip(FLIP_AXIS))
                with torch.no_grad():
                    source_keys = self.generator.encode(source, layers)
            else:
                pseudo, source_keys = self.generator.forward_with_features(source, layers)
            identity: Tensor | None = None
            target_keys: list[Tensor] = []
            if self._settings.nce_identity:
                identity, target_keys = self.generator.forward_with_features(target, layers)
        return Translated(
            pseudo,
            [key.detach() for key in source_keys],
            identity,
            [key.detach() for key in target_keys],
            flipped,
        )

    def update_discriminator(self, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Let the discriminator learn one step from pairs (target, pseudo); return its loss."""
        self._discriminator_optimiser.zero_grad(set_to_none=True)
        found = []
        for target, pseudo in pairs:
            shown = self._pool.exchange(pseudo)
            with autocast(self._device, self._settings.mixed_precision):
                loss = discriminator_loss(self.discriminator(target), self.discriminator(shown))
            found.append(backward({"discriminator": loss}, len(pairs)))
        step(self._discriminator_optimiser, self.discriminator, self._settings.gradient_clip)
        return mean_losses(found)["discriminator"]

    def generator_losses(self, translated: Translated) -> dict[str, Tensor]:
        """Return the adversarial and the contrastive loss, with gradients."""
        weights = self._settings
        with autocast(self._device, self._settings.mixed_precision):
            # The discriminator only passes gradients on here.
            self.discriminator.requires_grad_(False)
            fooled = judged(self.discriminator(translated.pseudo), real=True)
            self.discriminator.requires_grad_(True)
            contrast = self._contrast(translated.pseudo, translated.source_keys, translated.flipped)
            if translated.identity is not None:
                own = self._contrast(translated.identity, translated.target_keys, flipped=False)
                contrast = (contrast + own) / 2
        return {
            "adversarial": weights.gan_weight * fooled,
            "contrast": weights.nce_weight * contrast,
        }

    def zero_grad(self) -> None:
        """Forget the generator's and the patch sampler's gradients."""
        self._generator_optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take a step of the generator and the patch sampler."""
        step(self._generator_optimiser, self.generator, self._settings.gradient_clip)

    def _contrast(self, output: Tensor, keys: list[Tensor], flipped: bool) -> Tensor:
        queries = self.generator.encode(output, self._settings.nce_layers)
        if flipped:
            queries = [query.flip(FLIP_AXIS) for query in queries]
        positions = draw_positions(keys, self._settings.nce_patches, self._random)
        found = self.patch_sampler(queries, positions)
        with torch.no_grad():
            wanted = self.patch_sampler(keys, positions)
        return mean_patch_nce(found, wanted, self._settings.nce_temperature)

    @torch.no_grad()
    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return source, pseudo-target, target and the target's own translation."""
        source, target = batch["source"][:1], batch["target"][:1]
        with autocast(self._device, self._settings.mixed_precision):
            shown = {
                "source": source,
                "pseudo target": self.generator(source),
                "target": target,
                "identity": self.generator(target),
            }
        return {name: picture[0, 0].float() for name, picture in shown.items()}

    def streams(self) -> list[torch.Generator]:
        """Return nothing: what is drawn here is drawn alike in all processes."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers, pool and random stream."""
        return {
            **{name: model.state_dict() for name, model in self.models_for_inference().items()},
            "generator_optimiser": self._generator_optimiser.state_dict(),
            "discriminator_optimiser": self._discriminator_optimiser.state_dict(),
            "pool": self._pool.state_dict(),
            "random": self._random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for name, model in self.models_for_inference().items():
            model.load_state_dict(state[name])
        self._generator_optimiser.load_state_dict(state["generator_optimiser"])
        self._discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])
        self._pool.load_state_dict(state["pool"], self._device)
        self._random.set_state(state["random"])

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the generator, and what `cutseg-train` goes on with: its two partners."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "patch_sampler": self.patch_sampler,
        }
