"""Mixed precision: bf16 on CUDA, full precision elsewhere; and the choice of a device."""

import resource
import sys
from typing import TypeVar

import torch

from vsuda_cli.config import Training
from vsuda_cli.errors import VsudaError

Network = TypeVar("Network", bound=torch.nn.Module)

# What is compiled: the parts in which nearly all time is spent, the generator's blocks and the
# U-Net's. Named, for to import MONAI takes longer than torch and translation needs none of it.
_BLOCKS = ("ResidualBlock", "ResidualUnit")


def autocast(device: torch.device, wanted: bool = True) -> torch.autocast:
    """Return a context for forward passes: bf16 needs no loss scaling and keeps float's range."""
    mixed = wanted and device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)


def choose_algorithms(device: torch.device) -> None:
    """Ask for the same bits in every run on the CPU, and for speed on a GPU."""
    on_cpu = device.type == "cpu"
    # As use_deterministic_algorithms(on_cpu, warn_only=True), which imports a compiler: seconds.
    torch.set_deterministic_debug_mode("warn" if on_cpu else "default")
    # Else every new tensor is first filled with NaN, 1 to 3 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not on_cpu
    torch.set_float32_matmul_precision("highest" if on_cpu else "high")


def peak_memory_gib(device: torch.device) -> float:
    """Return the most memory that was in use so far: a GPU's tensors, or the whole process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB elsewhere.
    return largest / (2**30 if sys.platform == "darwin" else 2**20)


def made_fast(network: Network, settings: Training) -> Network:
    """Change a network, already on its device, to channels-last and compiled blocks if so set.

    Weights keep their names: blocks are compiled in place, one after another, so that those of the
    same shape share one compilation.
    """
    if settings.channels_last:
        # Other weights than convolutions' have no channels to put last.
        layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        for value in network.parameters():
            if value.ndim in layouts:
                value.data = value.data.contiguous(memory_format=layouts[value.ndim])
    if settings.compile_blocks:
        # A compilation for each shape that a network has, of which a U-Net has more than eight.
        torch._dynamo.config.recompile_limit = 64
        # On a GPU torch 2.11 fails in this fusion at the U-Net: "AssertionError: 1 v.s. 16".
        from torch._inductor import config as inductor

        inductor.triton.mix_order_reduction = False
        for block in network.modules():
            if type(block).__name__ in _BLOCKS:
                block.compile()
    return network


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:INDEX`.

    Raises VsudaError if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise VsudaError(f"--device {name}", "is unknown", "use auto, cpu or cuda[:i]") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise VsudaError(
            f"--device {name}", f"there are {torch.cuda.device_count()} such devices", "use auto"
        )
    if device.type not in ("cpu", "cuda"):
        raise VsudaError(f"--device {name}", "is not supported", "use auto, cpu or cuda[:i]")
    return device
