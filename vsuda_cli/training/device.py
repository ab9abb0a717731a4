"""The device that a run is on: its choice, its algorithms, and how much memory was needed."""

import resource
import sys

import torch

from vsuda_cli.errors import VsudaError, counted


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:INDEX`.

    Raises VsudaError if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise VsudaError(
            f"--device {name}", "is unknown", "use auto, cpu or cuda[:INDEX]"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = counted(torch.cuda.device_count(), "CUDA GPU")
        raise VsudaError(f"--device {name}", f"{count} can be seen here", "use auto or cpu")
    if device.type not in ("cpu", "cuda"):
        raise VsudaError(f"--device {name}", "is not supported", "use auto, cpu or cuda[:INDEX]")
    return device


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
