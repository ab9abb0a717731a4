"""Loading of crops by several threads, with memory given back to the kernel and kept.

Run it by hand: `python tests/benchmarks/loading.py [--size X,Y,Z] [--loads N]`. Crops of made-up
voxels are loaded and brought to the training grid as `predict` does it. `kept` is as vsuda runs,
`given back` as Python does by itself; each line is a process of its own. Times are the CPU's, per
crop, in the program and in the kernel; `faults` are the pages of 4 KiB that it had to clear.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from inference import DISTINCT, write_cases

from vsuda_cli import config, resolving
from vsuda_cli.io.cases import find_images
from vsuda_cli.io.memory import keep_freed_memory
from vsuda_cli.io.nifti import load_image
from vsuda_cli.prepared import prepare_image


def main() -> None:
    """Print a table: crops a second, and what one takes, for each number of threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="128,128,40")
    parser.add_argument("--loads", type=int, default=48)
    given = parser.parse_args()
    size = tuple(int(n) for n in given.size.split(","))
    print("threads  memory      crops/s  program ms  kernel ms  faults  peak MB")
    for threads in (1, 2, 6, 12):
        for kept in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                measured = pool.apply(_measure, (size, given.loads, threads, kept))
            name = "kept" if kept else "given back"
            rate, program, kernel, faults, peak = measured
            print(
                f"{threads:7}  {name:10}  {rate:7.1f}  {program:10.1f}  {kernel:9.1f}"
                f"  {faults:6.0f}  {peak:7.0f}",
                flush=True,
            )


def _measure(
    size: tuple[int, int, int], loads: int, threads: int, kept: bool
) -> tuple[float, float, float, float, float]:
    if kept:
        keep_freed_memory()
    settings = resolving.resolve(config.SegmentationSettings, preset="paper").preprocessing
    with tempfile.TemporaryDirectory() as folder:
        write_cases(Path(folder), size, DISTINCT, settings, labelled=False)
        paths = [image.path for image in find_images(Path(folder))]

        def load(number: int) -> tuple[float, float, int]:
            before = resource.getrusage(resource.RUSAGE_THREAD)
            volume = load_image(paths[number % DISTINCT])
            prepare_image(volume.array, volume.affine, settings, volume.path)
            after = resource.getrusage(resource.RUSAGE_THREAD)
            return (
                after.ru_utime - before.ru_utime,
                after.ru_stime - before.ru_stime,
                after.ru_minflt - before.ru_minflt,
            )

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(load, range(2 * threads)))
            began = time.perf_counter()
            taken = list(pool.map(load, range(loads)))
            rate = loads / (time.perf_counter() - began)
    program, kernel, faults = np.mean(taken, axis=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return rate, 1000 * program, 1000 * kernel, faults, peak


if __name__ == "__main__":
    main()
