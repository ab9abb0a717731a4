"""Time and peak memory of finding label issues, ours beside cleanlab's on the same voxels.

Run it by hand: `python tests/benchmarks/fusion.py [MILLIONS...]` (1 and 4 unless given). Every
measurement is a process of its own; memory is what the call adds to the process's peak, beyond the
probabilities and labels themselves (Linux only). The probabilities are two blurred noisy balls in
Fortran order and in 16 or 8 bit steps, as they come from files: few distinct values mean ties.
"""

import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RULES = ("prune_by_noise_rate", "both", "confident_learning", "low_normalized_margin")
STEPS = {"16 bit": 65535, "8 bit": 255}


def main() -> None:
    """Print a table: voxels, storage, rule, seconds and megabytes of both, flagged voxels."""
    print(
        "voxels  storage  rule                     cleanlab s  ours s   cleanlab MB  ours MB  flags"
    )
    for millions in [float(word) for word in sys.argv[1:]] or [1.0, 4.0]:
        for storage in STEPS:
            for rule in RULES:
                theirs, ours = (
                    _apart(method, millions, storage, rule) for method in ("cleanlab", "ours")
                )
                same = "equal" if theirs[2] == ours[2] else "DIFFERENT"
                print(
                    f"{millions:4g} M  {storage:7}  {rule:24} {theirs[0]:10.2f} {ours[0]:7.2f}"
                    f"  {theirs[1]:11.0f} {ours[1]:8.0f}  {int(ours[2][0])} {same}",
                    flush=True,
                )


def _apart(method: str, millions: float, storage: str, rule: str) -> tuple[float, float, object]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure, (method, millions, storage, rule))


def _measure(method: str, millions: float, storage: str, rule: str) -> tuple[float, float, object]:
    from cleanlab.filter import find_label_issues as cleanlabs

    from vsuda_cli.images.confident_learning import find_label_issues

    side = round((millions * 1e6) ** (1 / 3))
    probabilities = _ball(side, 0.30, STEPS[storage], seed=0)
    labels = _ball(side, 0.32, 65535, seed=1).argmax(axis=1).astype(np.uint8)
    # Linux: the peak starts anew from what is in use now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_mb()
    began = time.perf_counter()
    if method == "ours":
        flags = find_label_issues(labels, probabilities, rule)
    else:
        flags = cleanlabs(labels, probabilities, filter_by=rule, n_jobs=1)
    seconds = time.perf_counter() - began
    added = _peak_mb() - before
    # Position-weighted, so that equal sums mean equal flags.
    where = int(np.flatnonzero(flags).astype(np.int64).sum())
    return seconds, added, (int(flags.sum()), where)


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _ball(side: int, radius: float, steps: int, seed: int) -> NDArray[np.float32]:
    """Return probabilities (N, 3) of background, a ball and a small ball, made in slabs."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    slabs = []
    for z in axis:
        distance = np.sqrt(axis[:, None] ** 2 + axis[None] ** 2 + z**2)
        logits = (
            np.stack([0 * distance, radius - distance, 1.4 * radius - 2 * distance], axis=-1) * 15
        )
        logits += rng.normal(0, 0.6, logits.shape).astype(np.float32)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        share = (weights / weights.sum(axis=-1, keepdims=True)).reshape(-1, 3)
        slabs.append(np.rint(share * steps).astype(np.uint16))
    whole = np.concatenate(slabs)
    result = np.empty(whole.shape, dtype=np.float32, order="F")
    for k in range(3):
        result[:, k] = whole[:, k] / np.float32(steps)
    return result


if __name__ == "__main__":
    main()
