"""Translation by one intensity curve, found in closed form: a start for networks, or a baseline."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vsuda_cli.training.contrast_prior import curve_prior, expected_contrast
from vsuda_cli.training.data import Item


class Curve:
    """The objective of `translate-train --method curve`; it has nothing left to learn in steps."""

    def __init__(
        self,
        sources: Sequence[Item],
        targets: Sequence[Item],
        ranges: Sequence[tuple[float, float]],
        device: torch.device,
    ) -> None:
        prior = curve_prior(sources, targets, ranges, 0.0, device, drawn=True)
        self.generator = expected_contrast(prior, ranges, device)

    def set_epoch(self, epoch: int) -> dict[str, float]:
        """Nothing changes from epoch to epoch."""
        return {}

    @torch.no_grad()
    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return how far the curve moves the batch's source from its own contrast, on average."""
        source = batch["source"]
        return {"change": (self.generator(source) - source).abs().mean()}

    @torch.no_grad()
    def pictures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return source, pseudo-target and target of the batch's first images."""
        source, target = batch["source"][:1], batch["target"][:1]
        shown = {"source": source, "pseudo target": self.generator(source), "target": target}
        return {name: picture[0, 0] for name, picture in shown.items()}

    def streams(self) -> list[torch.Generator]:
        """Nothing is random."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return the heights."""
        return {"generator": self.generator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.generator.load_state_dict(state["generator"])

    def models_for_inference(self) -> dict[str, torch.nn.Module]:
        """Return the curve."""
        return {"generator": self.generator}
