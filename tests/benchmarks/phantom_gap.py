"""The domain gap on made-up heads: one segmenter trained without, one with labels of the target.

Run it by hand: `python tests/benchmarks/phantom_gap.py [SIZE] [SEED] [OPTION...]` (tiny and 0
unless given; options go to seg-train, e.g. `--epochs 60`). All is done by the commands, as a user
would, with `--preset small`: both networks see 8 heads, and 4 hrT2 scans are scored whole. To be a
task for domain adaptation, VS Dice must stay below 0.3 without target labels and rise above 0.8
with them.
"""

import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print the mean Dice of both structures for both models, and the seconds of training."""
    size = sys.argv[1] if len(sys.argv) > 1 else "tiny"
    seed = sys.argv[2] if len(sys.argv) > 2 else "0"
    options = sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _prepare(work, size, seed)
        print("trained on          VS Dice  cochlea Dice  training s", flush=True)
        for name, wanted in (("source", "VS below 0.3"), ("target", "VS above 0.8")):
            seconds, vs, cochlea = _model(work, name, seed, options)
            print(
                f"{name + ' labels':18} {vs:8.3f}  {cochlea:12.3f}  {seconds:10.0f}   ({wanted})",
                flush=True,
            )


def _prepare(work: Path, size: str, seed: str) -> None:
    data = work / "data"
    _vsuda("phantom", data, "--size", size, "--seed", seed, "--workers", 2)
    atlas = ["--atlas", data / "atlas/atlas_ceT1.nii.gz", "--roi", data / "atlas/atlas_ROI.nii.gz"]
    atlas += ["--workers", 2]
    _vsuda("crop", data / "source_training", work / "source", *atlas)
    labels = ["--labels", data / "target_training_labels"]
    _vsuda("crop", data / "target_training", work / "target", *atlas, *labels)
    _vsuda("crop", data / "target_validation", work / "validation", *atlas)


def _model(work: Path, name: str, seed: str, options: list[str]) -> tuple[float, float, float]:
    """Train on one domain's labelled crops; return seconds and the mean Dice of VS and cochlea."""
    run, found, final = work / f"run-{name}", work / f"found-{name}", work / f"final-{name}"
    began = time.perf_counter()
    _vsuda("seg-train", work / name, run, "--preset", "small", "--seed", seed, *options)
    seconds = time.perf_counter() - began
    _vsuda("predict", run, work / "validation", found)
    _vsuda("postprocess", found, final, "--like", work / "data/target_validation")
    scores = work / f"{name}.csv"
    _vsuda("evaluate", final, work / "data/target_validation_labels", "--csv", scores)
    with scores.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    vs, cochlea = (statistics.mean(float(r[f"{s}_Dice"]) for r in rows) for s in ("VS", "cochlea"))
    return seconds, vs, cochlea


def _vsuda(*words: object) -> None:
    command = [sys.executable, "-m", "vsuda_cli", *map(str, words), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
