"""Throughput of `predict` and `translate-export` beside that of the bare network, and peak memory.

Run it by hand: `python tests/benchmarks/inference.py [--size X,Y,Z] [--cases N] [--preset paper]
[--device cpu] [--repeats 3] ["export 2D"...]`. Crops of made-up voxels, as finely resolved as the
training grid is not, are read from files, sent through networks of random weights and written
again, with the commands' own stages and defaults: `predict` in windows (`--whole`: whole),
translation whole. `bare` is the network alone on what it is given there, waiting on the device,
kernel by kernel; `in turn` is the same work as the command's without overlap, of the first eight
crops. What is loaded first and saved last overlaps with nothing, so that a GPU needs hundreds of
crops. Of several repeats, taken by turns, the fastest counts: other work only ever slows down.
`network's share` is the CPU time of the bare network over that of the calling thread in the
overlapped run: what overlapped/bare comes to, one thread in the network, where a core is free for
the others. Weights and libraries are loaded. Every line is a process of its own; memory is its peak
(Linux), on a GPU also the device's.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from vsuda_cli import config, resolving
from vsuda_cli.commands import predicting, translate_export
from vsuda_cli.commands.running import device_threads
from vsuda_cli.inference import Loaded, make_segmenter
from vsuda_cli.io.batch import Failure, Job
from vsuda_cli.io.cases import find_images, label_beside
from vsuda_cli.io.memory import keep_freed_memory
from vsuda_cli.io.nifti import save_image, save_label
from vsuda_cli.io.pipeline import Stages, run_overlapped
from vsuda_cli.networks import cuda_graphs
from vsuda_cli.training.device import choose_device
from vsuda_cli.training.precision import autocast
from vsuda_cli.training.segmenter import build_unet
from vsuda_cli.training.translation import build_generator, translate_volume
from vsuda_cli.translating import make_translator

# Voxel sizes of the scans as shares of the training grid's: both are resampled, there and back.
FINER = (0.9, 0.9, 1.1)
# Crops of voxels of their own; more are the same files under other names.
DISTINCT = 8


def main() -> None:
    """Print a table: cases a second bare, in turn and overlapped, their ratios, and memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--size", default="128,128,40")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="predict sends crops whole")
    given = parser.parse_args()
    largest_pass = config.LARGEST_PASS if given.whole else 0
    size = tuple(int(n) for n in given.size.split(","))
    where = choose_device(given.device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"
    threads = torch.get_num_threads()
    print(f"{given.cases} crops of {given.size} voxels, preset {given.preset}, {name}", end=", ")
    print(f"{threads} threads in the network, {device_threads(where.type)} to load and to save")
    print(
        "work            bare/s  in turn/s  overlapped/s  in turn/bare  overlapped/bare"
        "  network's share     MB"
    )
    for work in given.names or ("predict", "export 2D", "export 3D"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            words = (work, size, given.cases, given.preset, str(where), largest_pass, given.repeats)
            bare, turn, over, share, megabytes = pool.apply(_measure, words)
        print(
            f"{work:14} {bare:7.3f}  {turn:9.3f}  {over:12.3f}  {turn / bare:12.2f}"
            f"  {over / bare:15.2f}  {share:15.2f}  {megabytes:5.0f}",
            flush=True,
        )


def _measure(
    work: str,
    size: tuple[int, int, int],
    cases: int,
    preset: str,
    device: str,
    largest_pass: int,
    repeats: int,
) -> tuple[float, float, float, float, float]:
    keep_freed_memory()
    where = choose_device(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        predict = partial(_segmenting, largest_pass)
        make = predict if work == "predict" else partial(_translating, int(work[-2]))
        stages, jobs, bare = make(folder, size, cases, preset, where)
        ways: dict[str, Callable[[], None]] = {
            "bare": bare,
            "turn": lambda: _in_turn(jobs[:DISTINCT], stages),
            "over": lambda: _overlapped(jobs, stages, device_threads(where.type)),
        }
        ways["turn"]()
        fastest = dict.fromkeys(ways, float("inf"))
        busy = dict.fromkeys(ways, float("inf"))
        for _ in range(repeats):
            for key, run in ways.items():
                began, worked = time.perf_counter(), time.thread_time()
                run()
                if where.type == "cuda":
                    torch.cuda.synchronize()
                fastest[key] = min(fastest[key], time.perf_counter() - began)
                busy[key] = min(busy[key], time.thread_time() - worked)
    memory = _peak_mb()
    if where.type == "cuda":
        memory = max(memory, torch.cuda.max_memory_allocated() / 2**20)
    bare, over = (cases / fastest[key] for key in ("bare", "over"))
    return bare, len(jobs[:DISTINCT]) / fastest["turn"], over, busy["bare"] / busy["over"], memory


def _segmenting(
    largest_pass: int,
    folder: Path,
    size: tuple[int, int, int],
    cases: int,
    preset: str,
    where: torch.device,
) -> tuple[Stages, list[Job], Callable[[], None]]:
    settings = resolving.resolve(config.SegmentationSettings, preset=preset)
    write_cases(folder, size, cases, settings.preprocessing, labelled=False)
    network = build_unet(settings.unet, len(settings.classes) + 1).to(where).eval()
    loaded = Loaded(network, settings, 1, crops=True)
    segmenter = make_segmenter((loaded,), where, largest_pass=largest_pass)
    images = find_images(folder)
    jobs = [
        Job(image.case, (), (image, (folder / "out" / f"{image.case}_Label.nii.gz",)))
        for image in images
    ]
    stages = Stages(
        partial(predicting.load, segmenter, None),
        partial(predicting.compute, segmenter),
        partial(predicting.save, {}),
    )
    given: list[Tensor] = []
    # A recorded pass does not ask the network.
    with (
        patch.object(cuda_graphs, "MOST_BYTES", -1),
        network.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])),
    ):
        for image in images:
            predicting.compute(segmenter, predicting.load(segmenter, None, image), ())

    def bare() -> None:
        with torch.no_grad(), autocast(where, True):
            for batch in given:
                network(batch)

    return stages, jobs, bare


def _translating(
    dims: int,
    folder: Path,
    size: tuple[int, int, int],
    cases: int,
    preset: str,
    where: torch.device,
) -> tuple[Stages, list[Job], Callable[[], None]]:
    settings = resolving.resolve(config.TranslationSettings, preset=preset, values={"dims": dims})
    write_cases(folder, size, cases, settings.preprocessing, labelled=True)
    network = build_generator(settings).to(where).eval()
    translator = make_translator(network, settings, 1, where)
    jobs, waiting = [], []
    for image in find_images(folder):
        names = [folder / "out" / f"{image.case}_{tag}.nii.gz" for tag in ("hrT2", "Label")]
        source = image.path, label_beside(image)
        jobs.append(Job(image.case, (), (source, (1, tuple(names)))))
        waiting.append(translate_export.load(translator, source).prepared.image[0].to(where))

    def bare() -> None:
        for image in waiting:
            translate_volume(network, image, where, mixed=True)

    load = partial(translate_export.load, translator)
    compute = partial(translate_export.compute, {1: translator})
    return Stages(load, compute, translate_export.save), jobs, bare


def write_cases(
    folder: Path,
    size: tuple[int, int, int],
    cases: int,
    preprocessing: config.Preprocessing,
    labelled: bool,
) -> None:
    """Write crops of voxels smaller than the training grid's that cover `size` voxels of it."""
    shape = [round(n / share) for n, share in zip(size, FINER, strict=True)]
    spacing = np.multiply(preprocessing.spacing_mm, FINER)
    rng = np.random.default_rng(0)
    for number in range(min(cases, DISTINCT)):
        affine = np.diag([*spacing, 1.0])
        voxels = rng.normal(400, 100, shape).astype(np.float32)
        # Whole numbers, as scanners give: they compress as real scans do.
        save_image(folder / f"{number:03d}_R_ceT1.nii.gz", voxels.astype(np.int16), affine)
        if labelled:
            labels = np.zeros(shape, np.uint8)
            labels[20:50, 20:50, 10:20], labels[60:70, 30:40, 12:16] = 1, 2
            save_label(folder / f"{number:03d}_R_Label.nii.gz", labels, affine)
    tags = ("ceT1", "Label") if labelled else ("ceT1",)
    for number in range(DISTINCT, cases):
        for tag in tags:
            first = folder / f"{number % DISTINCT:03d}_R_{tag}.nii.gz"
            (folder / f"{number:03d}_R_{tag}.nii.gz").hardlink_to(first)


def _in_turn(jobs: list[Job], stages: Stages) -> None:
    for job in jobs:
        source, target = job.arguments
        stages.save(stages.compute(stages.load(source), target), target)


def _overlapped(jobs: list[Job], stages: Stages, threads: int) -> None:
    results: list[Any] = [result for _, result in run_overlapped(jobs, stages, threads)]
    for result in results:
        if isinstance(result, Failure):
            raise RuntimeError(result.message)


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
