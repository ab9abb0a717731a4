"""Training commands in several processes: the results of one, one writer, and none left hanging."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import killable_runs
import pytest
import torch
from safetensors.torch import load_file

from vsuda_cli.inference import load_network
from vsuda_cli.translating import load_translator

CPU = torch.device("cpu")
SEGMENTERS = ("seg-train", "mt-train", "cutseg-train")


def logs_in(folder: Path, count: int = 2) -> list[Path]:
    return [folder / f"rank{rank}.log" for rank in range(count)]


def answers(name: str, run: Path) -> list[torch.Tensor]:
    """What the last networks of a run make of one image."""
    image = torch.rand((1, 1, 16, 16, 8), generator=torch.Generator().manual_seed(0))
    found = []
    with torch.no_grad():
        if name in SEGMENTERS:
            segmenter = load_network(run, "last", CPU).network
            found.append(segmenter(image).softmax(dim=1))
        if name not in ("seg-train", "mt-train"):
            generator = load_translator(run, "last", CPU).network
            found.append(generator(image[..., 0]))
    return found


def same_results(name: str, one: Path, several: Path) -> None:
    first, second = killable_runs.rows(one), killable_runs.rows(several)
    assert [list(row) for row in first] == [list(row) for row in second]
    for ours, theirs in zip(first, second, strict=True):
        for key, value in ours.items():
            # A few voxels in which two classes are as probable as each other turn by rounding.
            few = 5e-3 if key.startswith("validation_dice") else 1e-4
            assert value == pytest.approx(theirs[key], rel=2e-3, abs=few), key
    for ours, theirs in zip(answers(name, one), answers(name, several), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


# CutSeg holds CUT, mean teacher the supervised objective: those alone are left to the slow tests.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("cut", "seg-train") else [])
        for name in killable_runs.LINES
    ],
)
def test_two_processes_equal_one_with_twice_the_batch(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    still = [word for setting in killable_runs.STILL for word in ("--set", setting)]
    still = still if name in SEGMENTERS else []
    if name == "cutseg-train":
        # An absolute difference's slope jumps at 0: with more weight rounding alone decides steps.
        still += ["--set", "auxiliary_weight=1.0"]
    line = killable_runs.words(
        name, tiny, tmp_path / "two", "--set", "batch_size=1", *still, epochs=2
    )
    logs = logs_in(tmp_path)
    assert killable_runs.run_together(line, logs) == [0, 0], (
        logs[0].read_text() + logs[1].read_text()
    )
    assert "epoch 2: step 4" in logs[0].read_text()
    assert logs[1].read_text() == "", "the first process speaks for all"
    line = killable_runs.words(
        name, tiny, tmp_path / "one", "--set", "batch_size=2", *still, epochs=2
    )
    assert killable_runs.run(line, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    same_results(name, tmp_path / "one", tmp_path / "two")
    if name == "cutseg-train":
        same_results(name, tmp_path / "one" / "fine-tuned", tmp_path / "two" / "fine-tuned")


def test_a_killed_process_ends_the_job_with_a_message_and_it_can_be_resumed(
    tmp_path: Path, tiny: Path
) -> None:
    # With dropout and random intensities, in which the processes differ.
    whole = killable_runs.words("mt-train", tiny, tmp_path / "whole", "--resume")
    assert killable_runs.run_together(whole, logs_in(tmp_path)) == [0, 0]
    line = killable_runs.words("mt-train", tiny, tmp_path / "run", "--resume")
    logs = [tmp_path / "killed0", tmp_path / "killed1"]
    # In the second epoch; the other process finds nobody to average with.
    assert killable_runs.run_together(line, logs, die_at=11) == [-signal.SIGKILL, 2]
    assert "lost the connection to another process of this run" in logs[1].read_text()
    assert 1 <= len(killable_runs.rows(tmp_path / "run")) < 3
    alone = tmp_path / "alone"
    assert killable_runs.run(line, alone) == 2
    assert "was started with another number of processes: 2 -> 1" in alone.read_text()
    assert killable_runs.run_together(line, logs_in(tmp_path)) == [0, 0]
    assert killable_runs.results(tmp_path / "run") == killable_runs.results(tmp_path / "whole")


def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path: Path, tiny: Path) -> None:
    line = killable_runs.words("seg-train", tiny, tmp_path / "run", "--resume", epochs=1000000)
    logs = logs_in(tmp_path)
    processes = killable_runs.start_together(line, logs)
    killable_runs.wait_for_an_epoch(tmp_path / "run", processes[0])
    assert processes[1].pid is not None
    os.kill(processes[1].pid, signal.SIGUSR1)
    for process in processes:
        process.join()
        assert process.exitcode == 130
    said = {log.read_text().split("error:")[1].strip() for log in logs}
    assert len(said) == 1
    assert "continue with --resume" in said.pop()
    assert (tmp_path / "run" / "checkpoints" / "last.pt").exists()


def test_a_refusal_ends_all_processes(tmp_path: Path, tiny: Path) -> None:
    logs = logs_in(tmp_path)
    line = killable_runs.words("seg-train", tiny, tiny / "seg-train")
    assert killable_runs.run_together(line, logs) == [2, 2]
    assert "exists already; use --resume" in logs[0].read_text()
    assert "lost the connection" in logs[1].read_text()
    for more in (["--resume"], ["--resume", "--dry-run"]):
        assert killable_runs.run_together([*line, *more], logs) == [2, 2]
    told = "was started with another number of processes: 1 -> 2"
    assert logs[0].read_text().count(told) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", killable_runs.LINES)
def test_torchrun_starts_every_training_command(tmp_path: Path, tiny: Path, name: str) -> None:
    line = killable_runs.words(name, tiny, tmp_path / "run", epochs=2)
    torchrun = [*(sys.executable, "-m", "torch.distributed.run"), "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "-m", "vsuda_cli", *line],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = done.stdout.splitlines()
    assert len(written) == (2 if name == "cutseg-train" else 1), "one process writes"
    assert all(Path(path).exists() for path in written)
    for path in written:
        assert all(torch.isfinite(value).all() for value in load_file(path).values())
