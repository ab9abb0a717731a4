"""Weights as safetensors with what inference needs; full training state loaded weights-only."""

import json
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic

FORMAT = "vsuda-1"
# What to do where nothing is left to go on from.
ANEW = "--force starts anew"
# What reading arbitrary bytes as a training state was seen to raise.
_DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


def save_weights(path: Path, models: dict[str, torch.nn.Module], metadata: dict[str, Any]) -> None:
    """Save the weights of named models; `metadata` travels along as JSON."""
    tensors: dict[str, Tensor] = {}
    for name, model in models.items():
        for key, tensor in model.state_dict().items():
            # A copy of its own: safetensors refuses tensors that share memory.
            tensors[f"{name}.{key}"] = tensor.detach().cpu().contiguous().clone()
    # One entry only: safetensors writes several in an order that changes from run to run.
    header = json.dumps({"format": FORMAT, "metadata": metadata})
    with _replacing(path) as temporary:
        save_file(tensors, temporary, {"vsuda": header})


def load_metadata(path: Path) -> dict[str, Any]:
    """Return a weights file's metadata; raises VsudaError if it is no whole file of ours."""
    with _opened(path) as stored:
        header = json.loads((stored.metadata() or {}).get("vsuda", "{}"))
        if header.get("format") != FORMAT:
            raise VsudaError(path, "was not written by vsuda", "give a run's own checkpoint")
        metadata: dict[str, Any] = header["metadata"]
        return metadata


def load_weights(path: Path, models: dict[str, torch.nn.Module]) -> None:
    """Load weights into named models; raises VsudaError if they do not fit."""
    with _opened(path) as stored:
        keys = set(stored.keys())
        for name, model in models.items():
            wanted = model.state_dict()
            found = {key for key in wanted if f"{name}.{key}" in keys}
            if found != set(wanted):
                missing = sorted(set(wanted) - found)
                raise VsudaError(
                    path, f"has no weights {name}.{missing[0]}", "give a run of the right kind"
                )
            try:
                model.load_state_dict({key: stored.get_tensor(f"{name}.{key}") for key in wanted})
            except RuntimeError as error:
                # Below a headline the first of what may be a hundred mismatches.
                first = str(error).splitlines()[:2][-1].strip()
                raise VsudaError(
                    path, f"does not fit the network ({first})", "use the run's own settings"
                ) from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Save full training state; the one before is kept beside it as `previous.pt`."""
    with _replacing(path) as temporary:
        # Given a path, torch would write the temporary file's name into the file.
        with temporary.open("wb") as file:
            _save(state, file)
        if path.exists():
            path.replace(previous(path))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Replace a file as `atomic.replacing` does; raises VsudaError if it cannot be written."""
    try:
        with atomic.replacing(path) as temporary:
            yield temporary
    except (SafetensorError, OSError) as error:
        # Of safetensors' own kind of error the end is the system's.
        told = error.strerror if isinstance(error, OSError) else None
        reason = told or str(error).rpartition("I/O error: ")[2]
        remedy = "check space and permissions"
        raise VsudaError(path, f"cannot be written ({reason})", remedy) from error


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # Of a disk that is full torch says that its position is not the expected one.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def load_state(path: Path) -> dict[str, Any]:
    """Load full training state, nothing but tensors and plain values.

    Raises VsudaError if the file is damaged, foreign or holds any other object.
    """
    try:
        with warnings.catch_warnings():
            # What torch says of strange files is for whoever wrote them.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        problem = f"is no whole training state ({_reason(error)})"
        # Not from torch's error: see `_reason`.
        raise VsudaError(path, problem, ANEW) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise VsudaError(path, "was not written by vsuda", ANEW)
    return state


def _reason(error: Exception) -> str:
    """Return why a file could not be loaded, without torch's advice to load it unsafely."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "weights_only" in str(error):
        return "it holds something else than tensors and plain values"
    first_line = str(error).partition("\n")[0]
    return first_line.partition(". ")[0] or type(error).__name__


def load_last_state(path: Path) -> tuple[dict[str, Any] | None, VsudaError | None]:
    """Return the state at `path`, or the one before with what is wrong with that at `path`.

    There may be neither. Raises VsudaError if there are files and no whole state among them.
    """
    damaged: list[VsudaError] = []
    for one in (path, previous(path)):
        if not one.exists():
            continue
        try:
            return load_state(one), (damaged[0] if damaged else None)
        except VsudaError as error:
            damaged.append(error)
    if not damaged:
        return None, None
    others = (f"{error.where}: {error.problem}" for error in damaged[1:])
    raise VsudaError(damaged[0].where, "; ".join([damaged[0].problem, *others]), ANEW)


def previous(path: Path) -> Path:
    """Return where the state before the last one is kept."""
    return path.with_name("previous.pt")


def set_aside(path: Path) -> Path:
    """Move a damaged state away, lest the next one saved take it for the one before."""
    return path.replace(path.with_name(f"damaged-{path.name}"))


def not_finite(state: Any, name: str = "") -> str | None:
    """Return the name of the first tensor that holds NaN or infinity in nested dictionaries."""
    if isinstance(state, Tensor):
        broken = state.is_floating_point() and not bool(torch.isfinite(state).all())
        return name if broken else None
    parts = state.items() if isinstance(state, dict) else ()
    found = (not_finite(part, f"{name}.{key}" if name else str(key)) for key, part in parts)
    return next((one for one in found if one), None)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise VsudaError(path, "does not exist", "give a run folder with checkpoints")
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise VsudaError(path, f"is no whole weights file ({error})", "copy it again") from error
