"""What all training commands share: killed and resumed to the same bytes, signals, refusals."""

import signal
import time
from pathlib import Path

import pytest
import tiny_runs


def wait_for(path: Path, process: object) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize("name", tiny_runs.LINES)
def test_killed_and_resumed_runs_end_with_the_same_bytes(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    line = tiny_runs.words(name, tiny, tmp_path / "run", "--resume")
    # While the folder is made, in the first epoch's files, between the renames of a state, later.
    codes = [tiny_runs.run(line, tmp_path / "log", die_at) for die_at in (2, 5, 8, 9, 12)]
    assert codes == [-signal.SIGKILL] * 5
    assert tiny_runs.run(line, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert tiny_runs.results(tmp_path / "run") == tiny_runs.results(tiny / name)
    if name == "cutseg-train":
        assert (tmp_path / "run" / "fine-tuned" / "best.json").exists()
