"""Results on their way from a device to the host, while the device goes on."""

import torch
from torch import Tensor


class ToHost:
    """A tensor that is copied to the host as soon as it is computed.

    Asked for only later, it would be copied behind whatever the device was given to do meanwhile.
    """

    def __init__(self, tensor: Tensor) -> None:
        # Into memory that the device writes to by itself.
        self._there = tensor.detach().to("cpu", non_blocking=True)
        self._done: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            # Blocking: threads that wait leave the processor to those that compress.
            self._done = torch.cuda.Event(blocking=True)
            self._done.record(torch.cuda.current_stream(tensor.device))

    def arrived(self) -> Tensor:
        """Wait for the copy, not for what comes after it, and return it."""
        if self._done is not None:
            self._done.synchronize()
        return self._there
