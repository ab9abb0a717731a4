"""How much memory this process may still take: of the machine, and of its job or container."""

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")


def free_bytes(proc: Path = PROC, groups: Path = GROUPS) -> int | None:
    """Return how many bytes can still be taken; None where the system does not say (not Linux).

    A cluster's job or a container is a control group with a limit of its own, and the kernel kills
    what goes beyond it. What it only keeps of files read (inactive) is given up first.
    """
    free = [
        int(line.split()[1]) * 1024
        for line in _text(proc / "meminfo").splitlines()
        if line.startswith("MemAvailable:")
    ]
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            names = ("memory.max", "memory.current", "inactive_file ")
            free += _left_in(groups, path, *names)
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            free += _left_in(groups / "memory", path, *names)
    return min(free, default=None)


def _left_in(top: Path, path: str, limit: str, used: str, kept: str) -> Iterator[int]:
    """Yield what is left in a group and in each one above it, as any of them may have a limit."""
    group = top / path.lstrip("/")
    for folder in (group, *group.parents):
        most, taken = _text(folder / limit).strip(), _text(folder / used).strip()
        # `max` is no limit. A container sees its own group as the top, under whatever path.
        if most.isdecimal() and taken.isdecimal():
            stat = _text(folder / "memory.stat").splitlines()
            files = [int(line.removeprefix(kept)) for line in stat if line.startswith(kept)]
            yield max(0, int(most) - int(taken) + sum(files))
        if folder == top:
            return


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
