"""Mixed precision: bf16 on CUDA, full precision elsewhere; and the choice of a device."""

import torch

from vsuda_cli.errors import VsudaError


def autocast(device: torch.device) -> torch.autocast:
    """Return a context for forward passes: bf16 needs no loss scaling and keeps float's range."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


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
