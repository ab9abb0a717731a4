"""Tiny crops and training runs on them, in processes of their own that may be killed at will."""

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch
from without_plots import without_plots

from vsuda_cli.io.nifti import save_image, save_label

SHAPE = (24, 20, 8)
NETWORK = [
    "unet.channels=[4,6,8]",
    "unet.kernels=[[3,3,1],[3,3,3],[3,3,3]]",
    "unet.strides=[[2,2,1],[2,2,2]]",
    "unet.residual_units=1",
]
SEGMENTATION = ["patch_size=[16,16,4]", *NETWORK]
TRANSLATION = [
    "patch_size=[16,16,1]",
    "base_channels=4",
    "residual_blocks=2",
    "discriminator_channels=4",
    "discriminator_layers=1",
    "nce_layers=[0,4,12]",
    "nce_patches=8",
    "nce_width=8",
    "pool_size=3",
]
COMMON = [
    "steps_per_epoch=2",
    "validate_every=1",
    "checkpoint_every=2",
    "validation_fraction=0.34",
    "preprocessing.spacing_mm=[1.0,1.0,1.5]",
]
# Nothing random that differs between processes: no dropout, no changes of intensity.
STILL = [
    "unet.dropout=0.0",
    *(f"augmentation.{name}=0.0" for name in ("gamma", "contrast", "brightness", "noise", "bias")),
]
# What a run imports; torch._inductor is what torch's optimisers and its determinism import.
IMPORTED = [
    *("torch", "torch._inductor", "PIL.PngImagePlugin", "vsuda_cli.cli", "vsuda_cli.inference"),
    *("vsuda_cli.training.cutseg", "vsuda_cli.training.cyclegan", "vsuda_cli.training.engine"),
    "vsuda_cli.report.run_page",
]
# Every training command with its inputs; words in capitals are folders of earlier runs.
LINES = {
    "cyclegan": ["translate-train", "source", "target", "--method", "cyclegan"],
    "cut": ["translate-train", "source", "target", "--method", "cut"],
    "seg-train": ["seg-train", "source"],
    "mt-train": ["mt-train", "source", "target", "--init", "SEG-TRAIN"],
    "cutseg-train": [
        *("cutseg-train", "source", "target"),
        *("--init-translation", "CUT", "--teacher", "MT-TRAIN"),
    ],
}


def write_crops(folder: Path, seed: int = 0) -> None:
    """Write three labelled source and three target crops, one of them with large pixels."""
    random = np.random.default_rng(seed)
    for domain, tag in (("source", "ceT1"), ("target", "hrT2")):
        for case in range(3):
            label = np.zeros(SHAPE, np.uint8)
            label[4:11, 5:12, 2:6], label[15:18, 8:12, 3:5] = 1, 2
            label = np.roll(label, (case, case), axis=(0, 1))
            bright = [0.3, 0.9, 0.6] if domain == "source" else [0.6, 0.2, 0.9]
            image = np.asarray(bright)[label] + random.normal(0, 0.05, SHAPE)
            coarse = domain == "target" and case == 2
            affine = np.diag([1.2, 1.2, 1.5, 1.0] if coarse else [1.0, 1.0, 1.5, 1.0])
            save_image(folder / domain / f"{domain}{case}_R_{tag}.nii.gz", image * 500, affine)
            if domain == "source":
                save_label(folder / domain / f"{domain}{case}_R_Label.nii.gz", label, affine)


def words(name: str, data: Path, run: Path, *more: str, epochs: int = 3) -> list[str]:
    """Return the command line of one of `LINES`, with input folders in `data`."""
    command, *inputs = LINES[name]
    places = [
        str(data / word.lower()) if word.isupper() or word in ("source", "target") else word
        for word in inputs
    ]
    positional = places[: 1 if name == "seg-train" else 2]
    settings = [*COMMON, *(TRANSLATION if command == "translate-train" else SEGMENTATION)]
    if name == "cutseg-train":
        settings += ["gan_slices=2", "fine_tune_above_mm=1.1", "fine_tune_epochs=2"]
    sets = [word for setting in settings for word in ("--set", setting)]
    return [
        *(command, *positional, str(run), *places[len(positional) :]),
        *("--device", "cpu", "--epochs", str(epochs), *sets, *more),
    ]


def start(
    command_line: list[str], log: Path, die_at: int = 0, environment: dict[str, str] | None = None
) -> BaseProcess:
    """Start `vsuda` in a process of its own; with `die_at` it kills itself before that rename.

    A clean server process imports torch once and is forked for every run, so that a start takes no
    seconds. Every file that matters appears by a rename, so the renames are the moments at which
    being killed leaves different things behind.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    arguments = (command_line, str(log), die_at, environment or {})
    process = context.Process(target=_vsuda, args=arguments)
    process.start()
    return process


def run(command_line: list[str], log: Path, die_at: int = 0) -> int:
    """Run `vsuda` to its end and return its exit code (-9: killed)."""
    process = start(command_line, log, die_at)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def start_together(command_line: list[str], logs: list[Path], die_at: int = 0) -> list[BaseProcess]:
    """Start as many processes as there are logs, as torchrun does; the first may kill itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(len(logs))}
    processes = []
    for rank, log in enumerate(logs):
        own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(start(command_line, log, die_at if rank == 0 else 0, own))
    return processes


def run_together(command_line: list[str], logs: list[Path], die_at: int = 0) -> list[int]:
    """Run processes together to their end and return their exit codes."""
    codes = []
    for process in start_together(command_line, logs, die_at):
        process.join()
        assert process.exitcode is not None
        codes.append(process.exitcode)
    return codes


def _vsuda(command_line: list[str], log: str, die_at: int, environment: dict[str, str]) -> None:
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    # Whoever runs the tests in the background may have Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    replace, renames = os.replace, iter(range(1, 10**9))

    def replace_or_die(source: str, target: str) -> None:
        if next(renames) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die  # type: ignore[assignment]
    sys.argv = ["vsuda", *command_line]
    from vsuda_cli.cli import main

    with without_plots():
        main()


def wait_for_an_epoch(folder: Path, process: BaseProcess) -> None:
    """Wait until a running process has finished an epoch."""
    metrics = folder / "metrics.jsonl"
    before = metrics.read_bytes() if metrics.exists() else b""
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        if metrics.exists() and metrics.read_bytes() != before:
            return
        time.sleep(0.005)


def results(folder: Path) -> dict[str, bytes]:
    """Return what a run is kept for, by path: weights, metrics, which epoch is best."""
    names = ("*.safetensors", "metrics.jsonl", "best.json")
    files = sorted(path for name in names for path in folder.rglob(name))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(folder: Path) -> list[dict[str, float]]:
    """Return a run's metrics, one row an epoch."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
