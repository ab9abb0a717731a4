"""`seg-train`: what a run's folder holds, where it starts from, what it is validated on."""

import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command_line import contents, vsuda
from safetensors import SafetensorError
from safetensors.numpy import load_file
from synthetic_crops import SEGMENTER, save_crops
from torch import Tensor

from vsuda_cli.training import checkpoint
from vsuda_cli.training.segmentation import Segmentation

pytestmark = pytest.mark.usefixtures("plain_pages")

WEIGHTS = "checkpoints/epoch-0001.safetensors"


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    cases = dict.fromkeys(["a0_R", "a1_R", "a2_L"], 1.0)
    save_crops(folder / "labelled", folder / "labelled", "hrT2", cases)
    save_crops(folder / "apart", folder / "labels", "hrT2", {"c0_R": 1.0})
    return folder


@pytest.fixture(scope="module")
def run(crops: Path) -> Path:
    done = vsuda("seg-train", crops / "labelled", crops / "run", SEGMENTER)
    assert done.code == 0, done.err
    assert done.lines == [str(crops / "run" / WEIGHTS)]
    assert "validation: a" in done.err
    assert "epoch 1: " in done.err
    return crops / "run"


def test_a_run_holds_what_the_documents_say(run: Path) -> None:
    files = contents(run)
    expected = {"config.toml", "run.json", "metrics.jsonl", "best.json", "report.html", WEIGHTS}
    assert expected | {"checkpoints/last.pt", "samples/epoch-0001.png"} == set(files)
    record = json.loads(files["run.json"])
    assert (record["command"], record["seed"], record["device"]) == ("seg-train", 0, "cpu")
    assert set(record["versions"]) == {"vsuda", "python", "torch"}
    settings = tomllib.loads(files["config.toml"].decode())
    assert settings["classes"] == ["VS", "cochlea"]
    row = json.loads(files["metrics.jsonl"])
    assert {"epoch", "validation_dice"} <= set(row)
    assert np.isfinite(list(row.values())).all()


def test_init_starts_from_another_runs_weights(crops: Path, run: Path, tmp_path: Path) -> None:
    words = ("seg-train", crops / "labelled", tmp_path / "b", SEGMENTER, "--init", run)
    done = vsuda(*words, "--set learning_rate=1e-12")
    assert done.code == 0, done.err
    assert f"starting from {run}, epoch 1" in done.err
    old, new = load_file(run / WEIGHTS), load_file(tmp_path / "b" / WEIGHTS)
    parameters = [k for k in old if k.endswith("weight") and old[k].ndim == 5]
    assert parameters
    assert all(np.allclose(old[k], new[k], atol=1e-6) for k in parameters)
    assert json.loads((tmp_path / "b" / "run.json").read_text())["data"]["init"]


def test_validation_images_are_taken_instead_of_a_split(crops: Path, tmp_path: Path) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    for file in [*(crops / "apart").iterdir(), *(crops / "labels").iterdir()]:
        os.link(file, folder / file.name)
    done = vsuda("seg-train", crops / "labelled", tmp_path / "b", SEGMENTER, "--validation", folder)
    assert done.code == 0, done.err
    assert "validation: a" not in done.err
    # All three cases are trained on: nothing is held out.
    assert json.loads((tmp_path / "b" / "run.json").read_text())["data"]["validation"]


def test_labels_may_lie_elsewhere_but_not_nowhere(crops: Path, tmp_path: Path) -> None:
    words = ("seg-train", crops / "apart", tmp_path / "b", SEGMENTER)
    done = vsuda(*words)
    assert done.code == 2
    assert "c0_R_Label" in done.err
    done = vsuda(*words, "--set validation_fraction=0 --labels", crops / "labels")
    assert done.code == 0, done.err


def test_classes_decide_what_labels_may_be(crops: Path, tmp_path: Path) -> None:
    words = ("seg-train", crops / "labelled", tmp_path / "b", SEGMENTER)
    done = vsuda(*words, "--classes VS")
    assert done.code == 2
    assert "holds label 2" in done.err
    assert not (tmp_path / "b").exists()
    assert vsuda(*words, "--classes VS,cochlea,canal").code == 0
    assert tomllib.loads((tmp_path / "b" / "config.toml").read_text())["classes"][2] == "canal"


def test_resuming_a_finished_run_changes_nothing_and_other_settings_are_refused(
    crops: Path, run: Path
) -> None:
    before = contents(run)
    words = ("seg-train", crops / "labelled", run, SEGMENTER, "--resume")
    assert vsuda(*words).lines == [str(run / WEIGHTS)]
    done = vsuda(*words, "--set learning_rate=0.5")
    assert done.code == 2
    assert "learning_rate" in done.err
    done = vsuda("seg-train", crops / "labelled", run, SEGMENTER)
    assert done.code == 2
    assert "--resume" in done.err
    assert contents(run) == before


def test_a_run_goes_on_to_the_bytes_of_an_uninterrupted_one(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("seg-train", crops / "labelled")
    assert vsuda(*words, tmp_path / "whole", SEGMENTER, "--epochs 2").code == 0
    update, steps = Segmentation.update, []

    def stopped(self: Segmentation, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return update(self, batch)

    monkeypatch.setattr(Segmentation, "update", stopped)
    done = vsuda(*words, tmp_path / "cut", SEGMENTER, "--epochs 2")
    assert (done.code, done.out) == (130, "")
    assert vsuda(*words, tmp_path / "cut", SEGMENTER, "--epochs 2 --resume").code == 0
    assert len(steps) == 3
    whole, cut = (contents(tmp_path / name) for name in ("whole", "cut"))
    # Provenance and the run's page name the folder and the command line; a state that was loaded
    # before is stored in another order.
    assert set(whole) == set(cut)
    differing = {name for name in whole if whole[name] != cut[name]}
    assert differing <= {"run.json", "report.html", "checkpoints/last.pt"}


def test_a_full_disk_is_told_with_the_file_and_nothing_half_written_stays(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        told = "Error while serializing: I/O error: No space left on device (os error 28)"
        raise SafetensorError(told)

    monkeypatch.setattr(checkpoint, "save_file", full)
    done = vsuda("seg-train", crops / "labelled", tmp_path / "run", SEGMENTER)
    assert done.code == 2
    told = "cannot be written (No space left on device (os error 28)); check space and permissions"
    assert f"{tmp_path / 'run' / WEIGHTS}: {told}" in done.err.replace("\n", "")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_force_keeps_the_old_run_until_the_new_data_is_read(run: Path, tmp_path: Path) -> None:
    save_crops(tmp_path, tmp_path, "hrT2", dict.fromkeys(["d0_R", "d1_R"], 1.0))
    bad = tmp_path / "d1_R_hrT2.nii.gz"
    bad.write_bytes(bad.read_bytes()[:400])
    before = contents(run)
    done = vsuda("seg-train", tmp_path, run, SEGMENTER, "--force")
    assert done.code == 2
    assert str(bad) in done.err
    assert contents(run) == before
