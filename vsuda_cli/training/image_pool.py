"""A pool of earlier fakes, lest a discriminator forget them (Shrivastava et al. 2017)."""

from typing import Any

import torch
from torch import Tensor

from vsuda_cli.training import ranks


class ImagePool:
    """Keeps up to `size` fakes; once full, half of the new ones are exchanged for old ones."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._images: list[Tensor] = []
        self._generator = torch.Generator().manual_seed(seed)

    def exchange(self, fakes: Tensor) -> Tensor:
        """Return fakes (B, ...) to show the discriminator; a pool of size 0 returns them as is."""
        if self._size == 0:
            return fakes
        shown = []
        # Several processes keep the same pool of all their fakes, as one process would.
        for fake in ranks.gathered(fakes.detach()):
            if len(self._images) < self._size:
                self._images.append(fake.clone())
                shown.append(fake)
                continue
            chance, place = torch.rand(2, generator=self._generator).tolist()
            if chance < 0.5:
                shown.append(fake)
                continue
            index = int(place * self._size)
            shown.append(self._images[index])
            self._images[index] = fake.clone()
        return ranks.own_share(torch.stack(shown))

    def state_dict(self) -> dict[str, Any]:
        """Return the images and the generator's state."""
        return {"images": list(self._images), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue exactly where `state_dict` was taken."""
        self._images = [image.to(device) for image in state["images"]]
        self._generator.set_state(state["generator"])
