"""A pool of earlier fakes, lest a discriminator forget them (Shrivastava et al. 2017)."""

from typing import Any

import torch
from torch import Tensor

from vsuda_cli.training import ranks


class ImagePool:
    """Keeps up to `size` fakes; once full, half of the new ones are exchanged for old ones.

    What happens to a fake is decided before there is one, so that a step needs no look at the CPU.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._filled = 0
        self._images: Tensor | None = None
        self._generator = torch.Generator().manual_seed(seed)

    def decide(self, count: int) -> Tensor:
        """Return for each of the next `count` fakes (place, is the old one shown, is it kept)."""
        rows = []
        for _ in range(count if self._size else 0):
            if self._filled < self._size:
                rows.append((self._filled, False, True))
                self._filled += 1
                continue
            chance, place = torch.rand(2, generator=self._generator).tolist()
            rows.append((int(place * self._size), chance >= 0.5, chance >= 0.5))
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)

    def exchange(self, fakes: Tensor, decisions: Tensor) -> Tensor:
        """Return fakes (B, ...) to show the discriminator; a pool of size 0 returns them as is.

        `decisions` (B, 3) are those of all processes, on the fakes' device.
        """
        if self._size == 0:
            return fakes
        # Several processes keep the same pool of all their fakes, as one process would.
        fakes = ranks.gathered(fakes.detach())
        if self._images is None:
            self._images = fakes.new_zeros((self._size, *fakes.shape[1:]))
        # A GPU's 16 bit fakes meet a CPU's where a run goes on elsewhere.
        self._images = self._images.to(fakes.dtype)
        shown = []
        for fake, row in zip(fakes, decisions, strict=True):
            place, from_pool, kept = row[:1], row[1] > 0, row[2] > 0
            old = self._images.index_select(0, place)[0]
            shown.append(torch.where(from_pool, old, fake))
            self._images.index_copy_(0, place, torch.where(kept, fake, old)[None])
        return ranks.own_share(torch.stack(shown))

    def state_dict(self) -> dict[str, Any]:
        """Return the images, how many there are, and the generator's state."""
        return {
            "images": self._images,
            "filled": self._filled,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue exactly where `state_dict` was taken."""
        images = state["images"]
        self._images = None if images is None else images.to(device, copy=True)
        self._filled = state["filled"]
        self._generator.set_state(state["generator"])
