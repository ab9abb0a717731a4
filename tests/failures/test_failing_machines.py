"""Full disks, read-only folders, links, races, closed pipes: real commands and their real ends."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vsuda_cli.io.nifti import is_whole, save_label

CASES = "abcd"


def command(folder: Path, *words: object) -> list[str]:
    line = [sys.executable, "-m", "vsuda_cli", "postprocess", folder / "labels", *words]
    return [str(word) for word in line]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four label maps of noise, which no compression makes small."""
    rng = np.random.default_rng(0)
    for case in CASES:
        label = rng.integers(0, 3, (60, 60, 40))
        save_label(tmp_path / "labels" / f"{case}_R_Label.nii.gz", label, np.eye(4))
    return tmp_path


def mounted(folder: Path, options: str, line: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command line with a small file system of its own at `folder`/out, or skip."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False).returncode
    ):
        pytest.skip("this machine lets nobody mount a file system")
    (folder / "out").mkdir()
    # What lies in the file system is listed before it vanishes with the command.
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && cd "$2" && shift 2 && "$@"; code=$?; find . >&2'
    script += "; exit $code"
    words = [*unshare, "sh", "-c", script, "sh", options, str(folder / "out"), *line]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_full_disk_fails_the_case_and_leaves_nothing(folder: Path) -> None:
    done = mounted(folder, "size=64k", command(folder, folder / "out" / "made", "--no-largest"))
    assert done.returncode == 1
    assert "No space left on device; check space and permissions" in done.stderr
    assert "Traceback" not in done.stderr
    # One file fits; of the others nothing is left.
    said, _, listing = done.stderr.partition("error: 3 cases failed, 1 done\n")
    assert said.count("No space left") == 3
    assert listing.splitlines() == [".", "./made", "./made/a_R_Label.nii.gz"]


def test_a_full_standard_output_is_an_error(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        line = command(folder, folder / "out")
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_folder_is_an_error(folder: Path) -> None:
    done = mounted(folder, "ro", command(folder, folder / "out" / "made"))
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "made" not in done.stdout


def test_a_home_that_cannot_be_written_does_not_matter(folder: Path) -> None:
    env = {**os.environ, "HOME": "/proc/nobody", "XDG_CACHE_HOME": "/proc/nobody"}
    done = subprocess.run(
        command(folder, folder / "out"), env=env, capture_output=True, check=False
    )
    assert done.returncode == 0


def test_links_are_replaced_and_what_they_lead_to_stays(folder: Path) -> None:
    (folder / "precious").write_text("kept")
    (folder / "out").mkdir()
    (folder / "out" / "a_R_Label.nii.gz").symlink_to(folder / "precious")
    subprocess.run(command(folder, folder / "out", "--force"), check=True, capture_output=True)
    assert (folder / "precious").read_text() == "kept"
    assert not (folder / "out" / "a_R_Label.nii.gz").is_symlink()
    # A link to the input is the input.
    (folder / "link").symlink_to(folder / "labels")
    before = {path: path.read_bytes() for path in (folder / "labels").iterdir()}
    line = command(folder, folder / "link", "--force")
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is an input folder too" in done.stderr
    assert {path: path.read_bytes() for path in (folder / "labels").iterdir()} == before


def test_shards_and_twins_on_one_folder_leave_whole_files(folder: Path) -> None:
    subprocess.run(command(folder, folder / "alone"), check=True, capture_output=True)
    expected = {path.name: path.read_bytes() for path in (folder / "alone").iterdir()}
    for each in ([("--shard", "1/2"), ("--shard", "2/2")], [("--force",), ("--force",)]):
        out = folder / f"out{each[0][0]}"
        lines = [command(folder, out, "--quiet", *words) for words in each]
        racing = [subprocess.Popen(line, stdout=subprocess.DEVNULL) for line in lines]
        assert [process.wait() for process in racing] == [0, 0]
        assert {path.name: path.read_bytes() for path in out.iterdir()} == expected


def test_head_leaves_no_traceback(folder: Path) -> None:
    process = subprocess.Popen(
        command(folder, folder / "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    # Ended by its reader, not by a fault; not all cases are done.
    assert process.wait() in (0, 1)
    assert "Traceback" not in said
    for path in (folder / "out").glob("*.nii.gz"):
        assert is_whole(path)
