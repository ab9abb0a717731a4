"""The SLURM examples hand on what SLURM tells them; the cluster's programs are stood in for."""

import ast
import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from vsuda_cli.options import BatchOptions

SLURM = Path(__file__).parents[1] / "examples" / "slurm"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of PATH; programs there write their arguments to files of their name."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def stand_in(folder: Path, name: str, then: str = "") -> Path:
    called = folder.parent / name
    (folder / name).write_text(f'#!/bin/sh\necho "$@" > {called}\n{then}\n')
    (folder / name).chmod(0o755)
    return called


def test_an_array_task_takes_its_shard(programs: Path) -> None:
    called = stand_in(programs, "vsuda")
    env = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MAX": "20", "SLURM_CPUS_PER_TASK": "3"}
    script = [SLURM / "crop-array.sbatch", "scans", "out", "atlas"]
    subprocess.run(["sh", *script], env={**os.environ, **env}, check=True)
    words = called.read_text().split()
    assert words[:3] == ["crop", "scans", "out"]
    for option, value in (("--shard", "2/20"), ("--workers", "3")):
        assert words[words.index(option) + 1] == value
    assert "--skip-existing" in words


def test_training_is_saved_and_queued_again_at_the_time_limit(programs: Path) -> None:
    # The process under torchrun says when it has started, and what signal it got.
    state = programs.parent / "state"
    waiting = f"trap 'echo saved > {state}; exit 130' USR1; echo up > {state}; sleep 60 & wait $!"
    # A shell between them, as torchrun lies between the script and its processes.
    launched = stand_in(programs, "torchrun", f'sh -c "{waiting}" & wait $!')
    requeued = stand_in(programs, "scontrol")
    env = {"SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "16", "SLURM_JOB_ID": "77"}
    script = ["sh", SLURM / "train-torchrun.sbatch", "seg-train", "pseudo", "runs/seg"]
    job = subprocess.Popen(script, env={**os.environ, **env}, start_new_session=True)
    try:
        while not state.exists() or not state.read_text():
            assert job.poll() is None
        job.send_signal(signal.SIGUSR1)
        assert job.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    assert state.read_text() == "saved\n"
    assert requeued.read_text() == "requeue 77\n"
    assert launched.read_text().split()[:3] == ["--standalone", "--nproc-per-node", "4"]
    assert launched.read_text().split()[3:] == [
        "-m",
        "vsuda_cli",
        "seg-train",
        "pseudo",
        "runs/seg",
        "--resume",
    ]


def test_the_guide_names_files_and_options_that_exist() -> None:
    guide = (SLURM / "README.md").read_text()
    for path in SLURM.iterdir():
        assert path.name == "README.md" or path.name in guide
    for name in re.findall(r"[\w-]+\.(?:sbatch|py)\b", guide):
        assert (SLURM / name).exists()
    assert {"shard", "dask"} <= set(BatchOptions.__dataclass_fields__)


def test_the_cluster_script_can_be_read() -> None:
    ast.parse((SLURM / "dask_cluster.py").read_text())
