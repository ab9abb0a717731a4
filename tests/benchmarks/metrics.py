"""Time of scoring one case, beside reading its files, whole-volume distances, and MedPy.

Run it by hand: `python tests/benchmarks/metrics.py [X,Y,Z]` (448,448,80 unless given). Predictions
are the reference moved a little, alone or with what makes scoring slow: a false speck in the far
corner, a thousand specks all over, one voxel in ten at random. MedPy is measured where it is
installed. `whole` are SciPy's distance transforms of the whole volume, as plain scorers do it.
"""

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vsuda_cli.commands.scoring import Measures, ScoredPair, score_case
from vsuda_cli.images.metrics import joint_box, score_structure
from vsuda_cli.io.nifti import load_label, save_label

SPACING = np.array([0.5, 0.5, 1.5])
Labels = NDArray[np.uint8]


def main() -> None:
    """Print a table: seconds for reading both files, for ours, whole volumes, and MedPy."""
    words = sys.argv[1] if len(sys.argv) > 1 else "448,448,80"
    shape = tuple(int(word) for word in words.split(","))
    medpy = importlib.util.find_spec("medpy") is not None
    print(
        "prediction            read s  vsuda s  read+score s  /read"
        "    whole s    MedPy s  whole/vsuda  MedPy/vsuda"
    )
    reference = _reference(shape)
    for name, prediction in _predictions(reference).items():
        read, both, ours = _measure_ours(prediction, reference)
        whole = _seconds(_whole, prediction, reference)
        theirs = _seconds(_medpy, prediction, reference) if medpy else float("nan")
        print(
            f"{name:20} {read:7.3f}  {ours:7.3f}  {both:12.3f}  {both / read:5.1f}"
            f"  {whole:9.2f}  {theirs:9.2f}  {whole / ours:11.0f}  {theirs / ours:11.0f}",
            flush=True,
        )


def _measure_ours(prediction: Labels, reference: Labels) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / kind / "a_Label.nii.gz" for kind in ("truth", "found")]
        for path, labels in zip(paths, (reference, prediction), strict=True):
            save_label(path, labels, np.diag([*SPACING, 1.0]))
        read = sum(_fastest(load_label, path) for path in paths)
        pair = ScoredPair("a", paths[0], paths[1], None)
        both = _fastest(score_case, pair, Measures(("VS", "cochlea")), False)
        arrays = [load_label(path).array for path in paths]
        ours = _fastest(_score, arrays[1], arrays[0])
    return read, both, ours


def _fastest(call: Callable[..., object], *words: object) -> float:
    """Return the shortest of three times, for calls so short that other work disturbs them."""
    return min(_seconds(call, *words) for _ in range(3))


def _seconds(call: Callable[..., object], *words: object) -> float:
    began = time.perf_counter()
    call(*words)
    return time.perf_counter() - began


def _reference(shape: tuple[int, ...]) -> Labels:
    """Return a tumour of 25 mm with a canal part, and two cochleae."""
    axes = [np.arange(n) * s for n, s in zip(shape, SPACING, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    middle = [n * s / 2 for n, s in zip(shape, SPACING, strict=True)]
    labels = np.zeros(shape, dtype=np.uint8, order="F")
    for label, radius, where in ((1, 12.5, 30), (1, 4, 45), (2, 4, 55), (2, 4, -55)):
        near = (x - middle[0] - where) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2
        labels[near < radius**2] = label
    return labels


def _predictions(reference: Labels) -> dict[str, Labels]:
    rng = np.random.default_rng(0)
    moved = np.asfortranarray(np.roll(reference, (2, 1), axis=(0, 1)))
    corner, specks, noise = (moved.copy(order="F") for _ in range(3))
    corner[:2, :2, :2] = 1
    specks.reshape(-1, order="F")[rng.integers(specks.size, size=1000)] = 1
    noise[rng.random(noise.shape, dtype=np.float32) < 0.1] = 1
    return {"moved": moved, "far corner": corner, "thousand specks": specks, "random tenth": noise}


def _score(prediction: Labels, reference: Labels) -> None:
    box = joint_box(prediction, reference)
    for value in (1, 2):
        ours, theirs = prediction[box] == value, reference[box] == value
        inner = joint_box(ours, theirs)
        score_structure(ours[inner], theirs[inner], SPACING)


def _whole(prediction: Labels, reference: Labels) -> None:
    for value in (1, 2):
        shells = []
        for labels in (prediction, reference):
            mask = labels == value
            shells.append(mask & ~ndimage.binary_erosion(mask))
        for a, b in (shells, shells[::-1]):
            ndimage.distance_transform_edt(~b, sampling=SPACING)[a].mean()


def _medpy(prediction: Labels, reference: Labels) -> None:
    from medpy.metric import binary

    for value in (1, 2):
        binary.dc(prediction == value, reference == value)
        binary.assd(prediction == value, reference == value, voxelspacing=SPACING)


if __name__ == "__main__":
    main()
