"""The SLURM examples hand on what SLURM tells them; the cluster's programs are stood in for."""

import ast
import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from vsuda_cli import cli
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


def array_task(words: list[str], task: str = "2") -> subprocess.CompletedProcess[str]:
    # As SLURM says it when tasks 2 and 7 alone are sent again.
    env = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MAX": "7", "SLURM_CPUS_PER_TASK": "3"}
    return subprocess.run(
        ["sh", SLURM / "crop-array.sbatch", *words],
        env={**os.environ, **env},
        check=False,
        capture_output=True,
        text=True,
    )


def test_an_array_task_takes_its_share_whichever_tasks_are_sent(programs: Path) -> None:
    called = stand_in(programs, "vsuda")
    done = array_task(["20", "scans", "out", "atlas"])
    assert (done.returncode, done.stderr) == (0, "")
    words = called.read_text().split()
    assert words[:3] == ["crop", "scans", "out"]
    for option, value in (("--shard", "2/20"), ("--workers", "3")):
        assert words[words.index(option) + 1] == value
    assert "--skip-existing" in words


@pytest.mark.parametrize(
    ("words", "task", "told"),
    [
        (["scans", "out", "atlas"], "2", "takes 4 words, not 3"),
        (["scans", "20", "out", "atlas"], "2", "takes the number of shares first, not 'scans'"),
        (["", "scans", "out", "atlas"], "2", "takes the number of shares first"),
        (["20", "scans", "out", "atlas"], "", "is for array jobs"),
    ],
)
def test_an_array_task_that_does_not_know_its_share_says_so(
    words: list[str], task: str, told: str, programs: Path
) -> None:
    called = stand_in(programs, "vsuda")
    done = array_task(words, task)
    assert done.returncode == 2
    assert told in done.stderr
    assert "sbatch --array=1-N crop-array.sbatch N SCANS OUT ATLAS_FOLDER" in done.stderr
    assert not called.exists()


@pytest.mark.skipif(shutil.which("pkill") is None, reason="procps is not there")
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


def test_the_guide_says_which_commands_can_be_array_jobs() -> None:
    guide = " ".join((SLURM / "README.md").read_text().split())
    said = re.search(r"([^.]*) can stand in the script in `crop`'s place, and so can (.*?):", guide)
    assert said
    program: Any = get_command(cli.app)
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in program.commands.items()
    }
    # What the script gives crop.
    needed = {"--shard", "--skip-existing"}
    able = {name for name, has in options.items() if needed | {"--workers"} <= has} - {"crop"}
    assert set(re.findall(r"`([a-z-]+)(?: --fix)?`", said[1])) == able
    without = {name for name, has in options.items() if needed <= has} - able - {"crop"}
    assert set(re.findall(r"`([a-z-]+)`", said[2])) - {"--workers"} == without


def test_the_cluster_script_can_be_read() -> None:
    ast.parse((SLURM / "dask_cluster.py").read_text())
