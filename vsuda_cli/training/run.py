"""A run's folder: what lies in it, who may write there, and which checkpoint is best."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from vsuda_cli import config, resolving
from vsuda_cli.errors import VsudaError
from vsuda_cli.io import atomic
from vsuda_cli.io.atomic import PARTIAL_SUFFIX

RUN_FILES = (
    "config.toml",
    "run.json",
    "metrics.jsonl",
    "best.json",
    "samples",
    "tensorboard",
    "checkpoints",
    "report.html",
)
# The files of a run, as they are named, in its folders.
_MADE_BY_RUNS = (
    "run.json",
    "metrics.jsonl",
    "best.json",
    "report.html",
    "samples/epoch-*.png",
    "tensorboard/events.*",
    "checkpoints/epoch-*.safetensors",
    "checkpoints/*.pt",
    # Of the run inside one of cutseg-train, which is removed after the rest.
    "fine-tuned/config.toml",
    f"*{PARTIAL_SUFFIX}",
)


@dataclass(frozen=True)
class Run:
    """Paths inside a run's folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """Every resolved setting, as TOML."""
        return self.folder / "config.toml"

    @property
    def provenance(self) -> Path:
        """Command, versions, seed, device and data fingerprint, as JSON."""
        return self.folder / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON object an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """Which epoch is best, by which metric, as JSON."""
        return self.folder / "best.json"

    @property
    def samples(self) -> Path:
        """Pictures of what the networks make of a batch."""
        return self.folder / "samples"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's events, where that is installed."""
        return self.folder / "tensorboard"

    @property
    def state(self) -> Path:
        """Full training state for resuming."""
        return self.folder / "checkpoints" / "last.pt"

    @property
    def fine_tuned(self) -> "Run":
        """The run inside one of cutseg-train that goes on from it, if there is any."""
        return Run(self.folder / "fine-tuned")

    def weights(self, epoch: int) -> Path:
        """Return the weights file after so many epochs."""
        return self.folder / "checkpoints" / f"epoch-{epoch:04d}.safetensors"

    def epochs(self) -> list[int]:
        """Return the epochs that have a weights file, ascending."""
        files = (self.folder / "checkpoints").glob("epoch-*.safetensors")
        numbers = (file.stem.removeprefix("epoch-") for file in files)
        return sorted(int(number) for number in numbers if number.isdecimal())

    def exists(self) -> bool:
        """Tell whether a run was started here."""
        return self.config.exists()


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Keep other processes from writing into a run's folder, which is made if there is none.

    Raises VsudaError if another process holds it. The lock goes with the process, however it ends.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(run.folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            remedy = "wait until it has ended, or give another folder"
            raise VsudaError(run.folder, "is being trained by another process", remedy) from error
        except OSError:
            # A file system without locks: who else is there cannot be known.
            pass
        yield
    finally:
        os.close(handle)


def start(run: Run, settings: config.Training, provenance: dict[str, Any], *, force: bool) -> None:
    """Make a run's folder with its settings and provenance.

    With `force` the files of an old run are removed, and nothing else. Raises like check_free, and
    if another process trains the run inside.
    """
    check_free(run, force=force)
    with held(run.fine_tuned) if _is_there(run.fine_tuned) else nullcontext():
        _remove_run_files(run)
    run.samples.mkdir(parents=True, exist_ok=True)
    run.state.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(run.provenance, json.dumps(provenance, indent=1) + "\n")
    # Last: its presence says that the folder is complete enough to be resumed.
    atomic.write_text(run.config, tomli_w.dumps(resolving.to_dict(settings)))


def check_free(run: Run, *, force: bool) -> None:
    """Raise VsudaError if a run cannot be started in its folder.

    An empty folder is free; one that holds a run is free with `force`; any other is not.
    """
    if run.folder.exists() and not run.folder.is_dir():
        raise VsudaError(run.folder, "is a file", "give a folder for the run")
    if not run.folder.exists() or not any(run.folder.iterdir()):
        return
    if not run.exists():
        if _was_killed_at_its_start(run) or (force and _was_killed_while_removed(run)):
            return
        raise VsudaError(run.folder, "is a folder that is no run", "give another folder")
    if not force:
        remedy = "use --resume to continue it, --force to start anew, or another folder"
        raise VsudaError(run.folder, "exists already", remedy)


def _was_killed_at_its_start(run: Run) -> bool:
    """Tell whether a folder holds nothing but what `start` makes before the settings."""
    found = {path for path in run.folder.rglob("*") if not path.name.endswith(PARTIAL_SUFFIX)}
    return found <= {run.provenance, run.samples, run.state.parent}


def _was_killed_while_removed(run: Run) -> bool:
    """Tell whether a folder holds nothing but files of a run, whose settings are gone first."""
    files = [path for path in run.folder.rglob("*") if not path.is_dir()]
    return all(any(path.match(one) for one in _MADE_BY_RUNS) for path in files)


def remove_partial_files(run: Run) -> None:
    """Remove what a killed process had not finished writing; some of it is large."""
    for folder in (run.folder, run.samples, run.state.parent):
        for path in folder.glob(f".*{PARTIAL_SUFFIX}"):
            path.unlink(missing_ok=True)


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return a run's provenance; raises VsudaError if the folder is no run."""
    path = Run(folder).provenance
    try:
        provenance: dict[str, Any] = json.loads(path.read_text())
        return provenance
    except (OSError, ValueError) as error:
        raise VsudaError(
            folder, "is not a training run", "give a folder made by a *-train command"
        ) from error


def choose_weights(folder: Path, wanted: str) -> tuple[int, Path]:
    """Return (epoch, weights file) for `best`, `last` or an epoch's number.

    Raises VsudaError if the folder is no run or has no such checkpoint.
    """
    run = Run(folder)
    read_provenance(folder)
    epochs = run.epochs()
    if not epochs:
        raise VsudaError(folder, "has no checkpoint yet", "train it first")
    if wanted == "last":
        return epochs[-1], run.weights(epochs[-1])
    if wanted == "best":
        if not run.best.exists():
            raise VsudaError(folder, "has no best.json", "use --checkpoint last or an epoch")
        try:
            epoch = int(json.loads(run.best.read_text())["epoch"])
        except (ValueError, LookupError, TypeError) as error:
            remedy = "use --checkpoint last or an epoch"
            raise VsudaError(run.best, f"names no epoch ({error})", remedy) from error
    elif wanted.isdecimal():
        epoch = int(wanted)
    else:
        raise VsudaError(f"--checkpoint {wanted}", "is unknown", "use best, last or an epoch")
    if epoch not in epochs:
        known = ", ".join(map(str, epochs))
        raise VsudaError(folder, f"has no checkpoint of epoch {epoch}", f"there are: {known}")
    return epoch, run.weights(epoch)


def _remove_run_files(run: Run) -> None:
    # The settings first: see `_was_killed_while_removed`.
    for name in RUN_FILES:
        path = run.folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    # What was made from a run that is no more.
    if _is_there(run.fine_tuned):
        _remove_run_files(run.fine_tuned)


def _is_there(run: Run) -> bool:
    """Tell whether a folder holds a run, or what is left of one."""
    return run.exists() or (run.folder.is_dir() and _was_killed_while_removed(run))
