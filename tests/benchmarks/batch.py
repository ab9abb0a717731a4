"""Cases a minute of `crop` and `evaluate` over workers and dask, and memory over 10 and 100 cases.

Run it by hand: `python tests/benchmarks/batch.py [CASES]` (8 unless given) for throughput, with a
dask scheduler and two worker processes on this machine where dask.distributed is installed; and
`python tests/benchmarks/batch.py memory` for the peak of the calling process. Heads are made up.
Starting Python and its workers counts, as users wait for that too.
"""

import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (10, 100)
# A process that tells its children's peak: the command under test is the only one.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def main() -> None:
    """Print the table asked for."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1:] == ["memory"]:
            _memory(folder)
        else:
            _throughput(folder, int(sys.argv[1]) if len(sys.argv) > 1 else 8)


def _throughput(folder: Path, cases: int) -> None:
    _make(folder, cases)
    ways = {"1 worker": ["--workers", "1"], "2 workers": ["--workers", "2"]}
    if importlib.util.find_spec("distributed") is None:
        _compare(folder, cases, ways)
        return
    from distributed import LocalCluster

    # The workers are there already, as on a cluster.
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as site:
        ways["dask, 2 workers"] = ["--dask", site.scheduler_address]
        _compare(folder, cases, ways)


def _compare(folder: Path, cases: int, ways: dict[str, list[str]]) -> None:
    print(f"{cases} cases           crop s  cases/min   evaluate s  cases/min")
    for way, words in ways.items():
        out = folder / way.replace(" ", "-")
        crop = _seconds(_crop(folder, folder / "data" / "target_training", out, words))
        labels = folder / "data" / "target_training_labels"
        scores = _seconds(["evaluate", str(labels), str(labels), *words])
        print(
            f"{way:16} {crop:10.1f} {60 * cases / crop:10.1f}   {scores:10.1f}"
            f" {60 * cases / scores:10.1f}",
            flush=True,
        )


def _memory(folder: Path) -> None:
    _make(folder, 2)
    print("cases   crop MB   evaluate MB   postprocess MB   peak of one process")
    for cases in SIZES:
        scans, labels = (folder / f"{kind}{cases}" for kind in ("scans", "labels"))
        # The same heads again and again, by links: only their number grows.
        for number in range(cases):
            for out, kind, tag in ((scans, "", "hrT2"), (labels, "_labels", "Label")):
                source = sorted(
                    (folder / "data" / f"target_training{kind}").glob(f"*_{tag}.nii.gz")
                )
                out.mkdir(exist_ok=True)
                (out / f"case{number:03}_{tag}.nii.gz").hardlink_to(source[number % len(source)])
        lines = (
            _crop(folder, scans, folder / f"crops{cases}", []),
            ["evaluate", str(labels), str(labels)],
            ["postprocess", str(labels), str(folder / f"clean{cases}"), "--like", str(scans)],
        )
        print(f"{cases:5}   " + "   ".join(f"{_peak_mb(line):9.0f}" for line in lines), flush=True)


def _make(folder: Path, cases: int) -> None:
    words = ["--source", "1", "--target", str(cases), "--validation", "1", "--size", "tiny"]
    _seconds(["phantom", str(folder / "data"), *words, "--workers", "2"])


def _crop(folder: Path, scans: Path, out: Path, words: list[str]) -> list[str]:
    atlas = folder / "data" / "atlas"
    line = ["crop", str(scans), str(out), "--atlas", str(atlas / "atlas_ceT1.nii.gz")]
    return [*line, "--roi", str(atlas / "atlas_ROI.nii.gz"), *words]


def _line(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "vsuda_cli", *words, "--quiet"]


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(_line(words), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _peak_mb(words: list[str]) -> float:
    line = [sys.executable, "-c", PEAK, *_line(words)]
    return float(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
