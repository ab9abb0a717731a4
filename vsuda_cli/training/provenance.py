"""How a run was started: written into its folder, and compared before it goes on."""

import json
import platform
import sys
import tomllib
from pathlib import Path
from typing import Any

import torch

from vsuda_cli import __version__, config, resolving
from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic
from vsuda_cli.training import ranks
from vsuda_cli.training.run import Run, read_provenance


def describe(command: str, data: dict[str, str], device: torch.device, seed: int) -> dict[str, Any]:
    """Return a run's provenance; `data` maps each input to the digest of its files."""
    return {
        "command": command,
        "arguments": sys.argv[1:],
        "data": data,
        "seed": seed,
        "device": str(device),
        "processes": ranks.count(),
        "versions": {
            "vsuda": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def record_validation(run: Run, cases: list[str]) -> None:
    """Add the cases kept for validation to a run's provenance."""
    provenance = {**read_provenance(run.folder), "validation": cases}
    atomic.write_text(run.provenance, json.dumps(provenance, indent=1) + "\n")


def check_same(run: Run, settings: config.Training, provenance: dict[str, Any]) -> None:
    """Raise VsudaError naming the first difference if a run was started in another way."""
    old = read_provenance(run.folder)
    remedy = "give the same settings and data, or start another run"
    for what, key in (("command", "command"), ("number of processes", "processes")):
        if old[key] != provenance[key]:
            text = f"was started with another {what}: {old[key]} -> {provenance[key]}"
            raise VsudaError(run.folder, text, remedy)
    old_settings = resolving.to_dict(
        resolving.from_dict(type(settings), _toml(run.config), run.config)
    )
    # What helps where a step cannot be recorded; losses differ by rounding at most.
    new_settings = {**resolving.to_dict(settings), "cuda_graph": old_settings["cuda_graph"]}
    changed = resolving.differences(old_settings, new_settings)
    if changed:
        raise VsudaError(run.folder, f"was started with other settings: {changed[0]}", remedy)
    for name, digest in provenance["data"].items():
        if digest != old["data"][name]:
            raise VsudaError(run.folder, f"was started with other data: {name} differs", remedy)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise VsudaError(path, f"cannot be read ({error})", "start another run") from error
