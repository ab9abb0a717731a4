"""The README's command lines, run in their order as they stand, end with scores and a report."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
# One step for each network: what is tested is that the lines fit together.
QUICK = {
    "VSUDA_PRESET": "small",
    "VSUDA_EPOCHS": "1",
    "VSUDA_SET": "steps_per_epoch=1 validation_fraction=0.34",
    "VSUDA_WORKERS": "2",
    "OMP_NUM_THREADS": "1",
}
COMMANDS = [
    "phantom",
    "check",
    "atlas",
    "crop",
    "translate-train",
    "translate-export",
    "seg-train",
    "mt-train",
    "cutseg-train",
    "predict",
    "fuse",
    "postprocess",
    "evaluate",
    "rank",
]


def lines() -> list[list[str]]:
    section = README.read_text().split("## Commands")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_every_command_has_an_example() -> None:
    assert {line[1] for line in lines()} == set(COMMANDS)


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    for line in lines():
        assert line[0] == "vsuda"
        done = subprocess.run(
            [sys.executable, "-m", "vsuda_cli", *line[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(line)}\n{done.stderr}"
    assert "<html" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "fused.csv").read_text().startswith("case,VS_Dice,VS_ASSD")
    assert len(list((tmp_path / "final").glob("*_Label.nii.gz"))) == 2
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    told = "print(*probabilities.shape, *labels.shape)"
    words = [sys.executable, "-c", f"{snippet}\n{told}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *grid, classes = map(int, done.stdout.split()[:4])
    assert (grid, classes) == (list(map(int, done.stdout.split()[4:])), 3)
