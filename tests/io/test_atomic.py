"""Files appear whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vsuda_cli.io import atomic


def test_success_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    atomic.write_text(path, "old")
    atomic.write_text(path, "neu: ä")
    assert path.read_bytes() == "neu: ä".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_failure_keeps_the_old_file(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    def write() -> None:
        with (
            atomic.replacing(tmp_path / "a.csv"),
            Path("/dev/full").open("wb", buffering=0) as full,
        ):
            full.write(b"1")

    with pytest.raises(OSError, match="No space left") as told:
        write()
    assert told.value.filename == str(tmp_path / "a.csv")
    assert not any(tmp_path.iterdir())


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.mkdir()
    with pytest.raises(OSError, match=r"a\.bin"):
        atomic.write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert path.is_dir()


def test_temporary_lies_beside_and_is_taken_for_no_image(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "a_T2.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert not temporary.name.endswith((".nii", ".nii.gz"))
        temporary.write_bytes(b"x")
    assert not temporary.exists()


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    # 255 bytes is what file systems take; in UTF-8 these are 85 characters.
    for name in ("n" * 255, "例" * 85):
        atomic.write_bytes(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "a", b"x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_leftovers_of_killed_writers_are_removed_and_no_others(tmp_path: Path) -> None:
    killed = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, sys\n"
            "from vsuda_cli.io import atomic\n"
            "with atomic.replacing(pathlib.Path(sys.argv[1])) as temporary:\n"
            "    os.kill(os.getpid(), 9)",
            str(tmp_path / "a.b_T2.nii.gz"),
        ]
    )
    assert killed.wait() == -signal.SIGKILL
    (tmp_path / ".a_T2.nii.gz.elsewhere.1.x.partial").touch()
    (tmp_path / "b_T2.nii.gz").touch()
    assert len(list(tmp_path.iterdir())) == 3
    with atomic.replacing(tmp_path / "c") as being_written:
        atomic.remove_leftovers([tmp_path, tmp_path / "absent"])
        assert being_written.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".a_T2.nii.gz.elsewhere.1.x.partial",
        "b_T2.nii.gz",
        "c",
    ]


def test_threads_leave_the_mask_as_it_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with ThreadPoolExecutor(8) as pool:
            paths = [tmp_path / f"{n}.txt" for n in range(200)]
            list(pool.map(lambda path: atomic.write_text(path, "x"), paths))
        assert os.umask(0o077) == 0o077
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    finally:
        os.umask(before)
