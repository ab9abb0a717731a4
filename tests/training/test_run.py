"""A run's folder: what starts, what is refused, what is chosen from it."""

import errno
import fcntl
import json
from pathlib import Path

import pytest
import torch

from vsuda_cli.config import SegmentationSettings
from vsuda_cli.errors import VsudaError
from vsuda_cli.training import checkpoint
from vsuda_cli.training.run import (
    Run,
    check_free,
    choose_weights,
    held,
    read_provenance,
    remove_partial_files,
    start,
)

SETTINGS = SegmentationSettings()
PROVENANCE = {"command": "seg-train", "data": {"labelled": "abc"}}


def started(folder: Path) -> Run:
    run = Run(folder)
    start(run, SETTINGS, PROVENANCE, force=False)
    return run


def with_weights(run: Run, *epochs: int) -> None:
    for epoch in epochs:
        checkpoint.save_weights(run.weights(epoch), {"m": torch.nn.Linear(1, 1)}, {"epoch": epoch})


def test_only_free_folders_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        check_free(Run(tmp_path / name), force=False)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "file").touch()
    for force in (False, True):
        with pytest.raises(VsudaError, match="is a folder that is no run"):
            check_free(Run(tmp_path / "photos"), force=force)
        with pytest.raises(VsudaError, match="is a file"):
            check_free(Run(tmp_path / "file"), force=force)
    run = started(tmp_path / "run")
    with pytest.raises(VsudaError, match="exists already; use --resume to continue it, --force"):
        start(run, SETTINGS, PROVENANCE, force=False)


def test_what_a_process_killed_at_its_start_left_is_free(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    (run.folder / ".config.toml.xyz.partial").touch()
    (run.state.parent / ".last.pt.xyz.partial").touch()
    run.config.unlink()
    check_free(run, force=False)
    remove_partial_files(run)
    assert sorted(path.name for path in run.folder.rglob("*")) == [
        "checkpoints",
        "run.json",
        "samples",
    ]
    (run.samples / "holiday.png").touch()
    with pytest.raises(VsudaError, match="is a folder that is no run"):
        check_free(run, force=False)


def test_what_a_process_killed_while_removing_an_old_run_left_is_free_with_force(
    tmp_path: Path,
) -> None:
    run = started(tmp_path / "run")
    with_weights(run, 3)
    run.state.touch()
    (run.samples / "epoch-0003.png").touch()
    run.config.unlink()
    with pytest.raises(VsudaError, match="is a folder that is no run"):
        check_free(run, force=False)
    start(run, SETTINGS, PROVENANCE, force=True)
    assert run.epochs() == []
    run.config.unlink()
    # What cutseg-train keeps in a run of its own is removed after it.
    started(run.folder / "fine-tuned")
    check_free(run, force=True)
    (run.samples / "holiday.png").touch()
    with pytest.raises(VsudaError, match="is a folder that is no run"):
        check_free(run, force=True)


def test_one_process_at_a_time_trains_in_a_folder(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with held(run):
        with (
            pytest.raises(VsudaError, match="is being trained by another process; wait"),
            held(run),
        ):
            pass
        with held(Run(tmp_path / "other")):
            pass
    with held(run):
        check_free(run, force=False)


def test_a_run_whose_fine_tuning_goes_on_is_not_removed(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    tuned = started(run.fine_tuned.folder)
    with held(tuned), pytest.raises(VsudaError, match="fine-tuned: is being trained"):
        start(run, SETTINGS, PROVENANCE, force=True)
    assert run.exists()
    assert tuned.exists()
    start(run, SETTINGS, PROVENANCE, force=True)
    assert not tuned.exists()


def test_what_is_left_of_a_fine_tuned_run_goes_too(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    tuned = started(run.fine_tuned.folder)
    with_weights(tuned, 3)
    # Killed while it was removed, its settings first.
    tuned.config.unlink()
    start(run, SETTINGS, PROVENANCE, force=True)
    check_free(run.fine_tuned, force=False)
    assert tuned.epochs() == []


def test_a_file_system_without_locks_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with held(Run(tmp_path / "run")):
        pass


def test_force_removes_a_runs_own_files_only(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    with_weights(run, 3)
    run.best.write_text("{}")
    run.metrics.write_text("{}")
    (run.folder / "notes.txt").write_text("mine")
    tuned = started(run.fine_tuned.folder)
    (tuned.folder / "notes.txt").write_text("mine too")
    outside = tmp_path / "pictures"
    outside.mkdir()
    (outside / "a.png").touch()
    run.samples.rmdir()
    run.samples.symlink_to(outside)
    start(run, SETTINGS, PROVENANCE, force=True)
    assert run.epochs() == []
    assert not run.best.exists()
    assert not run.metrics.exists()
    assert (run.folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tuned.folder.iterdir()] == ["notes.txt"]
    assert (outside / "a.png").exists()
    assert not run.samples.is_symlink()


def test_weights_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    with pytest.raises(VsudaError, match="has no checkpoint yet"):
        choose_weights(run.folder, "last")
    with_weights(run, 90, 5, 100)
    assert run.epochs() == [5, 90, 100]
    with pytest.raises(VsudaError, match=r"has no best\.json"):
        choose_weights(run.folder, "best")
    run.best.write_text(json.dumps({"epoch": 90}))
    chosen = {wanted: choose_weights(run.folder, wanted)[0] for wanted in ("best", "last", "5")}
    assert chosen == {"best": 90, "last": 100, "5": 5}
    assert choose_weights(run.folder, "5")[1] == run.weights(5)
    assert checkpoint.load_metadata(run.weights(5)) == {"epoch": 5}
    with pytest.raises(VsudaError, match="has no checkpoint of epoch 6; there are: 5, 90, 100"):
        choose_weights(run.folder, "6")
    with pytest.raises(VsudaError, match="use best, last or an epoch"):
        choose_weights(run.folder, "worst")


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(VsudaError, match="is not a training run"):
            choose_weights(folder, "best")
    (tmp_path / "run.json").write_text("{broken")
    with pytest.raises(VsudaError, match="is not a training run"):
        read_provenance(tmp_path)
