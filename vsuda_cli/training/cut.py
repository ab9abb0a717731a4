"""CUT and FastCUT: one-sided translation held in place by contrast (Park et al. 2020)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vsuda_cli.config import TranslationSettings
from vsuda_cli.networks.patch_projector import PatchProjector, draw_positions
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
from vsuda_cli.training.patch_nce import mean_patch_nce
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
        projector = PatchProjector(channels, settings.nce_width)
        # CUT's own name for it, which saved weights have.
        self.patch_sampler = initialised(projector, start, device, settings)
        learners = [*self.generator.parameters(), *self.patch_sampler.parameters()]
        rate, betas = settings.learning_rate, settings.betas
        self._generator_optimiser = adam(learners, device, lr=rate, betas=betas)
        self._discriminator_optimiser = adam(
            self.discriminator.parameters(), device, lr=rate, betas=betas
        )
        self._pool = ImagePool(settings.pool_size, settings.seed)
        self._random = torch.Generator().manual_seed(settings.seed)
        # Voxels of each feature map, by the shape of an image.
        self._map_sizes: dict[torch.Size, list[int]] = {}
        self.guide: Guide | None = None
        self._step = StepGraph(self._learn, settings, device)

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
        return self._step(batch, *self.draw(batch["source"]))

    def draw(self, source: Tensor) -> tuple[dict[str, Tensor], bool]:
        """Draw the random choices of one step on images like `source` (B, 1, X, Y[, Z]).

        Returns positions and what happens to fakes, and whether the source is flipped. All parts of
        a batch share flip and positions, as if they were one batch.
        """
        draws = {"pool": self._pool.decide(ranks.count() * len(source))}
        chosen = self._settings
        flipped = chosen.flip_equivariance and bool(torch.rand(1, generator=self._random) < 0.5)
        for name in ("source", "target") if chosen.nce_identity else ("source",):
            positions = draw_positions(self._voxels(source), chosen.nce_patches, self._random)
            draws |= {f"{name}{number}": where for number, where in enumerate(positions)}
        return draws, flipped

    def _voxels(self, image: Tensor) -> list[int]:
        """Return how many voxels the encoder's maps of an image have."""
        shape = image.shape[1:]
        if shape not in self._map_sizes:
            with torch.no_grad():
                maps = self.generator.encode(torch.zeros_like(image[:1]), self._settings.nce_layers)
            self._map_sizes[shape] = [one[0, 0].numel() for one in maps]
        return self._map_sizes[shape]

    def _learn(
        self, batch: dict[str, Tensor], draws: dict[str, Tensor], flipped: bool
    ) -> dict[str, Tensor]:
        parts = parts_of(batch, self._settings.accumulate)
        pairs = [(part["source"], part["target"]) for part in parts]
        discriminator, translations = self.begin_step(pairs, draws["pool"], flipped)
        self.zero_grad()
        found = []
        for part, translated in zip(parts, translations, strict=True):
            losses = self.generator_losses(translated, draws)
            if self.guide is not None:
                stack, labels = part["stack"], part["stack_label"]
                losses["guide"] = self.guide.loss(self.generator, stack, labels)
            found.append(backward(losses, len(parts)))
        self.step()
        return {"discriminator": discriminator, **mean_losses(found)}

    def begin_step(
        self, pairs: list[tuple[Tensor, Tensor]], decisions: Tensor, flipped: bool
    ) -> tuple[Tensor, Iterator[Translated]]:
        """Let the discriminator learn from pairs (source, target), the parts of one batch.

        Returns its loss, and the pairs' translations for the generator's losses. A single pair goes
        through the generator once, for both. The graphs of several would not fit in the memory that
        parts are to save: each is translated once more when its turn comes.
        """
        if len(pairs) == 1:
            only = self.translate(*pairs[0], flipped)
            fakes = [(pairs[0][1], only.pseudo.detach())]
            return self.update_discriminator(fakes, decisions), iter([only])
        with torch.no_grad():
            fakes = [(pair[1], self.translate(*pair, flipped).pseudo) for pair in pairs]
        again = (self.translate(*pair, flipped) for pair in pairs)
        return self.update_discriminator(fakes, decisions), again

    def translate(self, source: Tensor, target: Tensor, flipped: bool) -> Translated:
        """Send a batch (B, 1, X, Y[, Z]) through the generator, once, with its features."""
        layers = self._settings.nce_layers
        with autocast(self._device, self._settings.mixed_precision):
            given = [source.flip(FLIP_AXIS) if flipped else source]
            if self._settings.nce_identity:
                given.append(target)
            made, features = self.generator.forward_with_features(torch.cat(given), layers)
            pseudo, *same = made.chunk(len(given))
            source_keys, *target_keys = _apart(features, len(given))
            if flipped:
                with torch.no_grad():
                    source_keys = self.generator.encode(source, layers)
        return Translated(
            pseudo,
            [key.detach() for key in source_keys],
            same[0] if same else None,
            [key.detach() for keys in target_keys for key in keys],
            flipped,
        )

    def update_discriminator(self, pairs: list[tuple[Tensor, Tensor]], decisions: Tensor) -> Tensor:
        """Let the discriminator learn one step from pairs (target, pseudo); return its loss."""
        self._discriminator_optimiser.zero_grad(set_to_none=True)
        found = []
        for (target, pseudo), rows in zip(pairs, decisions.chunk(len(pairs)), strict=True):
            shown = self._pool.exchange(pseudo, rows)
            with autocast(self._device, self._settings.mixed_precision):
                scores = side_by_side(self.discriminator, target, shown)
                loss = discriminator_loss(*scores)
            found.append(backward({"discriminator": loss}, len(pairs)))
        step(self._discriminator_optimiser, self._settings.gradient_clip)
        return mean_losses(found)["discriminator"]

    def generator_losses(
        self, translated: Translated, draws: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the adversarial and the contrastive loss, with gradients.

        `draws` are those of `draw`.
        """
        weights = self._settings
        with autocast(self._device, self._settings.mixed_precision):
            # The discriminator only passes gradients on here.
            self.discriminator.requires_grad_(False)
            fooled = judged(self.discriminator(translated.pseudo), real=True)
            self.discriminator.requires_grad_(True)
            contrast = self._contrast(translated, draws)
        return {
            "adversarial": weights.gan_weight * fooled,
            "contrast": weights.nce_weight * contrast,
        }

    def zero_grad(self) -> None:
        """Forget the gradients of the generator and the patch projector."""
        self._generator_optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take a step of the generator and the patch projector."""
        step(self._generator_optimiser, self._settings.gradient_clip)

    def _contrast(self, translated: Translated, draws: dict[str, Tensor]) -> Tensor:
        """Return the contrastive loss, averaged over pseudo-images and translated targets."""
        outputs, keys = [translated.pseudo], {"source": translated.source_keys}
        if translated.identity is not None:
            outputs.append(translated.identity)
            keys["target"] = translated.target_keys
        features = self.generator.encode(torch.cat(outputs), self._settings.nce_layers)
        queries = _apart(features, len(outputs))
        if translated.flipped:
            queries[0] = [query.flip(FLIP_AXIS) for query in queries[0]]
        losses = []
        for (name, own), asked in zip(keys.items(), queries, strict=True):
            positions = [draws[f"{name}{number}"] for number in range(len(own))]
            found = self.patch_sampler(asked, positions)
            with torch.no_grad():
                wanted = self.patch_sampler(own, positions)
            losses.append(mean_patch_nce(found, wanted, self._settings.nce_temperature))
        return torch.stack(losses).mean()

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
        load_optimiser(self._generator_optimiser, state["generator_optimiser"])
        load_optimiser(self._discriminator_optimiser, state["discriminator_optimiser"])
        self._pool.load_state_dict(state["pool"], self._device)
        self._random.set_state(state["random"])

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the generator, and what `cutseg-train` goes on with: its two partners."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "patch_sampler": self.patch_sampler,
        }


def _apart(features: list[Tensor], count: int) -> list[list[Tensor]]:
    """Return for each of `count` batches, side by side in every feature map, its own maps."""
    return [list(maps) for maps in zip(*(one.chunk(count) for one in features), strict=True)]
