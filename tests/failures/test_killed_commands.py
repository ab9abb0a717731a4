"""Commands killed (SIGKILL) at any moment leave whole outputs or none, and a rerun ends the same.

Fifty times a command is started on an empty folder, killed at a random moment, and run again with
`--skip-existing`: the folder must then hold the bytes of an uninterrupted run. Commands run in
processes forked from one that has loaded everything, so that the moments fall into the work and not
into Python's start. The long test does the same from the shell, with worker processes.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import contents
from synthetic_head import head

from vsuda_cli.io.nifti import is_whole, save_image, save_label

KILLS = 50
AFFINE = np.diag([-0.8, -0.8, 1.5, 1.0])


# Does one command line to load everything, then forks a process for each one that it is sent.
SERVER = """
import contextlib, json, os, sys
import typer
import vsuda_cli.commands.running, vsuda_cli.images.components, vsuda_cli.images.cropping
from vsuda_cli.commands.postprocess import postprocess
app = typer.Typer()
app.command()(postprocess)
command = typer.main.get_command(app)
# The first call is done here, so that the later ones find everything loaded.
with contextlib.redirect_stdout(sys.stderr):
    command(json.loads(sys.stdin.readline()), standalone_mode=False)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        command(json.loads(line))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """Runs command lines in processes that need not load anything."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        line = [sys.executable, "-c", SERVER]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            line, cwd=folder, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def warm_up(self, words: list[str]) -> None:
        """Run the first command, which loads what all of them need."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")

    def run(self, words: list[str], killed_after: float | None = None) -> int:
        """Run one command, perhaps kill it after some seconds; return its exit code."""
        requests, answers = self.process.stdin, self.process.stdout
        assert requests is not None
        assert answers is not None
        requests.write(json.dumps(words) + "\n")
        requests.flush()
        number = int(answers.readline())
        if killed_after is not None:
            time.sleep(killed_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return int(answers.readline())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


def require_whole_files(folder: Path) -> None:
    for path in folder.rglob("*.nii.gz"):
        assert path.name.startswith(".") or is_whole(path), path


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scans, and label maps of both ears of each."""
    folder = tmp_path_factory.mktemp("ears")
    rng = np.random.default_rng(0)
    for case in "abcd":
        save_image(folder / "scans" / f"{case}_hrT2.nii.gz", np.zeros((50, 24, 12)), AFFINE)
        for side, start in (("R", 0), ("L", 26)):
            affine = AFFINE.copy()
            affine[:3, 3] = AFFINE[:3, 0] * start
            label = rng.integers(0, 3, (24, 24, 12))
            save_label(folder / "labels" / f"{case}_{side}_Label.nii.gz", label, affine)
    return folder


@pytest.mark.parametrize("kills", [8, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_rerun(
    server: Server, ears: Path, tmp_path: Path, kills: int
) -> None:
    def words(out: Path) -> list[str]:
        line = [str(ears / "labels"), str(out), "--like", str(ears / "scans")]
        return [*line, "--skip-existing", "--quiet"]

    def finish(out: Path) -> float:
        began = time.monotonic()
        assert server.run(words(out)) == 0, server.log.read_text()
        return time.monotonic() - began

    server.warm_up(words(tmp_path / "first"))
    finish(tmp_path / "second")
    seconds = finish(tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    assert len(expected) == 4
    moments = random.Random(0)
    unfinished = set()
    for number in range(10 * kills):
        # On a busy machine moments may all fall into the same case: then there are more of them.
        if number >= kills and len(unfinished) > 1:
            break
        out = tmp_path / f"out{number}"
        server.run(words(out), moments.uniform(0, 1) * seconds)
        require_whole_files(out)
        found = contents(out) if out.exists() else {}
        assert all(found[name] == expected[name] for name in found if not name.startswith("."))
        unfinished.add(len(found))
        # A machine that has less to do than before is faster: later moments come sooner.
        seconds = min(seconds, finish(out))
        assert contents(out) == expected
        shutil.rmtree(out)
    # The moments fell before, into and between the cases, however fast the machine is.
    assert len(unfinished) > 1, unfinished


@pytest.mark.slow
def test_killed_with_its_workers_and_rerun(tmp_path: Path) -> None:
    image, label, affine = head("T1")
    save_image(tmp_path / "atlas" / "atlas_ceT1.nii.gz", image, affine)
    region = np.zeros_like(label)
    region[50:75, 40:60, 10:25] = 1
    save_label(tmp_path / "atlas" / "atlas_ROI.nii.gz", region, affine)
    for number in range(4):
        image, label, affine = head("T2", seed=number)
        save_image(tmp_path / "scans" / f"{number}_hrT2.nii.gz", image, affine)
        save_label(tmp_path / "scans" / f"{number}_Label.nii.gz", label, affine)

    def start(out: Path) -> subprocess.Popen[bytes]:
        words = ["crop", tmp_path / "scans", out, "--skip-existing", "--workers", "2", "--quiet"]
        words += ["--atlas", tmp_path / "atlas" / "atlas_ceT1.nii.gz"]
        words += ["--roi", tmp_path / "atlas" / "atlas_ROI.nii.gz"]
        line = [sys.executable, "-m", "vsuda_cli", *map(str, words)]
        # A session of its own, so that one signal reaches the command and its workers.
        quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
        return subprocess.Popen(line, start_new_session=True, stdout=quiet, stderr=pipe)

    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    seconds = time.monotonic() - began
    expected = contents(tmp_path / "whole")
    moments = random.Random(0)
    for number in range(KILLS):
        out = tmp_path / f"out{number}"
        process = start(out)
        time.sleep(moments.uniform(0, 1) * seconds)
        # Every other time the command alone is killed, and its workers notice.
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        require_whole_files(out)
        second = start(out)
        _, said = second.communicate()
        assert second.returncode == 0, said.decode()
        require_whole_files(out)
        # Workers whose command is gone end the case that they are at, beside the second run. What
        # they write to ends with the last of them.
        assert process.stderr is not None
        process.stderr.read()
        assert contents(out) == expected
        shutil.rmtree(out)
