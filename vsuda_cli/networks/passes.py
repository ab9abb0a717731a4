"""Whole volumes through a network: in overlapping windows, or in one pass."""

import logging
import math
import re
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from vsuda_cli.errors import VsudaError
from vsuda_cli.networks.cuda_graphs import Recorded
from vsuda_cli.networks.free_memory import free_bytes

logger = logging.getLogger(__name__)

# Windows overlap by half and are blended, the middle counting most: so each voxel is as central in
# one of them as labelled voxels are in training, within a quarter of a patch. With an overlap of a
# quarter much less of tumours was found (Dice 0.61 where half gave 0.71).
WINDOW_OVERLAP = 0.5
# Voxels of the windows that go through a GPU at once: 1 GB for the paper's U-Net.
VOXELS_AT_ONCE = 2_000_000
# Results of more voxels are put together in the host's memory.
VOXELS_ON_DEVICE = 8_000_000

Network = Callable[[Tensor], Tensor]


class Passes:
    """Sends volumes of up to `largest` voxels through a network whole, others in windows.

    What does not fit into memory goes in windows too, with a message.
    """

    def __init__(
        self,
        network: Network,
        window: tuple[int, int, int],
        largest: int,
        bytes_a_voxel: int,
        device: torch.device,
    ) -> None:
        self._network = Recorded(network, bytes_a_voxel, device)
        self._window, self._device = window, device
        # Voxels that go through at once; fewer once that many have run out of memory.
        self._largest = largest
        self._at_once = voxels_at_once(device)
        self._bytes_a_voxel = bytes_a_voxel

    def __call__(self, image: Tensor, voxels: int, where: object) -> Tensor:
        """Return the network's output for (1, 1, X, Y, Z), of which it takes `voxels` at once.

        Raises VsudaError if memory does not even hold one window.
        """
        if voxels <= self._largest:
            problem = self._too_large(voxels)
            if problem is None:
                try:
                    return self._network(image, voxels)
                except RuntimeError as error:
                    problem = asked_for_memory(error)
                    if problem is None:
                        raise
                    self._largest = voxels - 1
            # Out of the handler: a caught error holds on to the tensors of the failed pass.
            logger.warning(
                "%s: one pass of %d voxels %s; going on in windows of %s. "
                "A smaller --largest-pass chooses windows from the start",
                where,
                voxels,
                problem,
                "x".join(map(str, self._window)),
            )
            self._at_once = 0
        for at_once in dict.fromkeys((self._at_once, 0)):
            try:
                return in_windows(self._network, image, self._window, self._device, at_once)
            except RuntimeError as error:
                problem = asked_for_memory(error)
                if problem is None:
                    raise
            self._at_once = 0
        raise VsudaError(where, f"a window {problem}", "use --device cpu or a larger device")

    def _too_large(self, voxels: int) -> str | None:
        """Say so if the memory that is free is too small; a GPU tells by itself, in time."""
        free = free_bytes() if self._device.type == "cpu" else None
        needed = voxels * self._bytes_a_voxel
        if free is None or needed <= free:
            return None
        return f"needs about {needed / 2**30:.2g} GiB of memory and {free / 2**30:.2g} are free"


def voxels_at_once(device: torch.device) -> int:
    """Return how many voxels of windows go through at once.

    On a CPU one window at a time: 20 small ones took 8 % longer and twice the memory.
    """
    return VOXELS_AT_ONCE if device.type == "cuda" else 0


def in_windows(
    network: Network,
    image: Tensor,
    window: tuple[int, int, int],
    device: torch.device,
    at_once: int | None = None,
) -> Tensor:
    """Return a network's output for (1, 1, X, Y, Z), put together from blended windows.

    As many windows go through at once as have `at_once` voxels, but one at least; None: as many as
    suit the device. Where an image is smaller than a window there are zeros around it, as around
    training patches.
    """
    # Here, for MONAI takes longer to import than torch.
    from monai.inferers import sliding_window_inference

    voxels = voxels_at_once(device) if at_once is None else at_once
    result: Tensor = sliding_window_inference(
        image,
        roi_size=window,
        sw_batch_size=max(1, voxels // math.prod(window)),
        predictor=network,
        overlap=WINDOW_OVERLAP,
        roi_weight_map=_weights(window, device),
        sw_device=device,
        device=device if image.numel() <= VOXELS_ON_DEVICE else torch.device("cpu"),
    )
    return result


# Cached: making the map waits for all pending work on the GPU.
@lru_cache(maxsize=16)
def _weights(window: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return how much a window's voxels (X, Y, Z) count where windows overlap."""
    from monai.data.utils import compute_importance_map

    weights: Tensor = compute_importance_map(window, mode="gaussian", device=device)
    return weights


def asked_for_memory(error: RuntimeError) -> str | None:
    """Say how much memory was asked for in vain; None if the error is another one."""
    text = str(error)
    if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text):
        return None
    asked = re.search(r"tried to allocate ([\d.]+ \w+)", text, flags=re.IGNORECASE)
    return "ran out of memory" + (f" (asked for {asked[1]})" if asked else "")
