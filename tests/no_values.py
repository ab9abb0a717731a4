"""A device that only knows shapes, in the place of a GPU: what waits for one shows on it.

Its tensors, of torch's device `meta`, have no values to be looked at, and do not mix with others.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class NothingFromTheHost(TorchDispatchMode):
    """Refuses copies from the CPU: the GPU would wait for them, and a graph keep what they were."""

    def __torch_dispatch__(
        self, kernel: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        copying = ("_to_copy", "copy_", "lift_fresh")
        if kernel.overloadpacket.__name__ in copying:
            assert all(one.device == META for one in args if isinstance(one, Tensor)), kernel
        return kernel(*args, **(kwargs or {}))
