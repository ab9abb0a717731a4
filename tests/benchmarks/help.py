"""How long `vsuda --help` takes, beside a bare Typer program of one command.

Run it by hand: `python tests/benchmarks/help.py [RUNS]` (20 unless given). Both start in turn, so
that a busy machine slows both; the least of each is compared. `cpu` leaves other programs out.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import typer

app = typer.Typer()


@app.command()
def main(name: str, loud: bool = False) -> None:
    \"\"\"Say hello.\"\"\"


app()
"""


def main() -> None:
    """Print the least wall and CPU time of both programs in milliseconds, and their ratio."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        programs = {"bare typer": [str(bare)], "vsuda": ["-m", "vsuda_cli"]}
        times = {name: [_measure(words) for _ in range(1)] for name, words in programs.items()}
        for _ in range(runs):
            for name, words in programs.items():
                times[name].append(_measure(words))
    print("program         wall ms    cpu ms")
    least = {
        name: [min(column) for column in zip(*rows, strict=True)] for name, rows in times.items()
    }
    for name, (wall, cpu) in least.items():
        print(f"{name:12} {wall * 1e3:10.0f} {cpu * 1e3:9.0f}")
    wall, cpu = (
        mine / theirs for mine, theirs in zip(least["vsuda"], least["bare typer"], strict=True)
    )
    print(f"{'ratio':12} {wall:10.2f} {cpu:9.2f}   (at most 4)")


def _measure(words: list[str]) -> tuple[float, float]:
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, *words, "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


if __name__ == "__main__":
    main()
