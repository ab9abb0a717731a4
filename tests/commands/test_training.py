"""What all training commands share: killed and resumed to the same bytes, signals, refusals."""

import json
import os
import signal
from pathlib import Path

import killable_runs
import pytest
import torch
from command_line import contents
from safetensors.torch import load_file

KILLED = -signal.SIGKILL


@pytest.mark.parametrize("name", killable_runs.LINES)
def test_killed_and_resumed_runs_end_with_the_same_bytes(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    line = killable_runs.words(name, tiny, tmp_path / "run", "--resume")
    # While the folder is made, in the first epoch's files, in the second's, between the two renames
    # that replace a state, and after that.
    codes = [killable_runs.run(line, tmp_path / "log", die_at) for die_at in (2, 5, 8, 7, 5)]
    assert codes == [KILLED] * 5, (tmp_path / "log").read_text()
    assert killable_runs.run(line, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    assert killable_runs.results(tmp_path / "run") == killable_runs.results(tiny / name)
    assert not list((tmp_path / "run").rglob("*.partial"))
    if name == "cutseg-train":
        assert (tmp_path / "run" / "fine-tuned" / "best.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_the_step_and_ends_with_130(
    tmp_path: Path, tiny: Path, number: signal.Signals
) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    endless = ["--set", "validate_every=1000000", "--resume"]
    line = killable_runs.words("seg-train", tiny, folder, *endless, epochs=1000000)
    done = []
    for _ in range(2):
        process = killable_runs.start(line, log)
        killable_runs.wait_for_an_epoch(folder, process)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == 130, log.read_text()
        state = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
        done.append((state["epoch"], state["step"]))
    assert done[0] < done[1], "the second process goes on where the first one stopped"
    epoch, step = done[1]
    assert (
        f"stopped in epoch {epoch + 1} after step {step}; continue with --resume" in log.read_text()
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_before_the_first_step_ends_with_130_too(
    tmp_path: Path, tiny: Path, number: signal.Signals
) -> None:
    # The name of a pipe: reading the settings waits for ever.
    os.mkfifo(tmp_path / "pipe")
    line = killable_runs.words(
        "seg-train", tiny, tmp_path / "run", "--config", str(tmp_path / "pipe")
    )
    process = killable_runs.start(line, tmp_path / "log")
    with (tmp_path / "pipe").open("w"):  # opens once the process has come to the reading
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join()
    assert process.exitcode == 130
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_other_settings_data_or_processes_are_refused_by_name(
    tmp_path: Path, tiny: Path, dry: tuple[str, ...]
) -> None:
    def refused(*more: str, name: str = "seg-train", data: Path = tiny) -> str:
        log = tmp_path / "log"
        log.write_text("")
        line = killable_runs.words(name, data, tiny / "seg-train", "--resume", *more, *dry)
        assert killable_runs.run(line, log) == 2
        return log.read_text()

    before = killable_runs.results(tiny / "seg-train")
    assert "learning_rate: 0.0005 -> 0.1" in refused("--set", "learning_rate=0.1")
    killable_runs.write_crops(tmp_path / "other", seed=1)
    assert "was started with other data: labelled differs" in refused(data=tmp_path / "other")
    provenance = tiny / "seg-train" / "run.json"
    kept = provenance.read_text()
    provenance.write_text(json.dumps({**json.loads(kept), "processes": 2}))
    assert "another number of processes: 2 -> 1" in refused()
    provenance.write_text(kept)
    assert "another command: seg-train -> mt-train" in refused(name="mt-train")
    assert killable_runs.results(tiny / "seg-train") == before


@pytest.mark.parametrize("name", killable_runs.LINES)
def test_a_dry_run_compares_every_input_of_the_run_to_continue(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    log = tmp_path / "log"
    line = killable_runs.words(name, tiny, tiny / name, "--resume", "--dry-run")
    assert killable_runs.run(line, log) == 0, log.read_text()
    provenance = tiny / name / "run.json"
    kept = provenance.read_text()
    record = json.loads(kept)
    given = [key for key, digest in record["data"].items() if digest]
    for key in given:
        provenance.write_text(json.dumps({**record, "data": {**record["data"], key: "another"}}))
        assert killable_runs.run(line, log) == 2
        assert f"was started with other data: {key} differs" in log.read_text()
    provenance.write_text(kept)
    assert given


def test_a_foreign_state_is_named_and_only_force_starts_anew(tmp_path: Path, tiny: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "log"
    line = killable_runs.words("seg-train", tiny, folder)
    assert killable_runs.run(line, log, die_at=8) == KILLED
    state = folder / "checkpoints" / "last.pt"
    mark = tmp_path / "mark"
    # A pickle that would touch a file when it is loaded.
    state.write_bytes(f"cos\nsystem\n(S'touch {mark}'\ntR.".encode())
    before = contents(folder)
    for more in (["--resume", "--dry-run"], ["--resume"]):
        log.write_text("")
        assert killable_runs.run([*line, *more], log) == 2
        assert f"{state}: is no whole training state" in log.read_text()
        assert "--force starts anew" in log.read_text()
        assert "weights_only" not in log.read_text()
        assert contents(folder) == before
    assert killable_runs.run([*line, "--force"], log) == 0
    assert not mark.exists()
    assert killable_runs.results(folder) == killable_runs.results(tiny / "seg-train")


def test_a_run_says_what_it_was_validated_on(tiny: Path) -> None:
    for name in ("seg-train", "cyclegan"):
        split = json.loads((tiny / name / "run.json").read_text())["validation"]
        assert len(split) == (1 if name == "seg-train" else 2)
    first = [
        json.loads((tiny / name / "run.json").read_text()) for name in ("mt-train", "seg-train")
    ]
    assert first[0]["validation"] == first[1]["validation"]
    assert all(one["processes"] == 1 for one in first)


def test_every_epoch_has_a_picture_and_a_row_with_its_rates(tiny: Path) -> None:
    for name in killable_runs.LINES:
        rows = killable_runs.rows(tiny / name)
        assert [(row["epoch"], row["step"]) for row in rows] == [(1, 2), (2, 4), (3, 6)]
        assert rows[0]["learning_rate"] > rows[-1]["learning_rate"] > 0
        pictures = sorted(path.name for path in (tiny / name / "samples").iterdir())
        assert pictures == [f"epoch-000{n}.png" for n in (1, 2, 3)]
        for weights in (tiny / name / "checkpoints").glob("*.safetensors"):
            assert all(torch.isfinite(value).all() for value in load_file(weights).values())
