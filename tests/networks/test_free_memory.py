"""The memory that can still be taken is the machine's, or the least that a job's groups leave."""

import sys
from pathlib import Path

import pytest

from vsuda_cli.networks.free_memory import free_bytes

MIB = 2**20


def machine(folder: Path, membership: str, available: int = 900) -> Path:
    """Write what a machine with so many MiB says of a process in these groups."""
    proc = folder / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(
        f"MemTotal: 4096000 kB\nMemAvailable: {available * 1024} kB\nCached: 5 kB\n"
    )
    (proc / "self" / "cgroup").write_text(membership)
    return proc


def group(folder: Path, most: object, taken: int, files: int = 0, *, first: bool = False) -> None:
    """Write a control group, of version 2 or of the first; `taken` and `files` in MiB."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, used, kept = names if first else ("memory.max", "memory.current", "inactive_file")
    (folder / limit).write_text(f"{most}\n")
    (folder / used).write_text(f"{taken * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 12\n{kept} {files * MIB}\nactive_file 77\n")


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    proc = machine(tmp_path, "0::/user\n")
    assert free_bytes(proc, tmp_path / "none") == 900 * MIB
    group(tmp_path / "groups" / "user", "max", 500)
    assert free_bytes(proc, tmp_path / "groups") == 900 * MIB


@pytest.mark.parametrize("first", [False, True])
def test_a_jobs_limit_counts_wherever_above_the_process_it_is(tmp_path: Path, first: bool) -> None:
    membership = "5:cpu,memory:/slurm/job_7/step_0\n0::/\n" if first else "0::/slurm/job_7/step_0\n"
    proc, groups = machine(tmp_path, membership), tmp_path / "groups"
    top = groups / "memory" if first else groups
    group(top / "slurm" / "job_7" / "step_0", 800 * MIB, 100, first=first)
    group(top / "slurm" / "job_7", 600 * MIB, 400, files=50, first=first)
    assert free_bytes(proc, groups) == 250 * MIB
    # What is in use already may exceed a limit that was lowered.
    group(top / "slurm", 300 * MIB, 700, first=first)
    assert free_bytes(proc, groups) == 0


def test_a_container_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    proc = machine(tmp_path, "4:memory:/docker/abc\n")
    group(tmp_path / "groups" / "memory", 300 * MIB, 100, first=True)
    assert free_bytes(proc, tmp_path / "groups") == 200 * MIB


def test_a_machine_that_says_nothing_leaves_it_open(tmp_path: Path) -> None:
    assert free_bytes(tmp_path, tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_this_machine_says_something() -> None:
    free = free_bytes()
    assert free is not None
    assert 2**20 < free < 2**50
