"""`mt-train`: the run is the teacher, and the unlabelled images have their say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import vsuda
from safetensors.numpy import load_file
from synthetic_crops import SEGMENTER, save_crops

from vsuda_cli.training import segmenter

pytestmark = pytest.mark.usefixtures("plain_pages")

WEIGHTS = "checkpoints/epoch-0001.safetensors"


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    cases = dict.fromkeys(["a0_R", "a1_R", "a2_L"], 1.0)
    save_crops(folder / "labelled", folder / "labelled", "hrT2", cases)
    save_crops(folder / "real", None, "hrT2", {"b0_R": 1.0})
    save_crops(folder / "other", None, "ceT1", {"c0_R": 1.0})
    # Of another seed: nothing but its weights makes a run like it.
    done = vsuda("seg-train", folder / "labelled", folder / "seg", SEGMENTER, "--seed 1")
    assert done.code == 0, done.err
    return folder


def train(crops: Path, run: Path, *more: object, unlabelled: str = "real") -> dict[str, np.ndarray]:
    words = ("mt-train", crops / "labelled", crops / unlabelled, run, SEGMENTER)
    done = vsuda(*words, "--init", crops / "seg", *more)
    assert done.code == 0, done.err
    assert done.lines == [str(run / WEIGHTS)]
    return load_file(run / WEIGHTS)


def test_the_weights_are_the_teachers_and_so_is_the_score(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[dict[str, np.ndarray]] = []
    score = segmenter.validation_dice

    def noted(network: torch.nn.Module, *rest: Any) -> dict[str, float]:
        scored.append({f"segmenter.{k}": v.numpy().copy() for k, v in network.state_dict().items()})
        return score(network, *rest)

    monkeypatch.setattr(segmenter, "validation_dice", noted)
    start = load_file(crops / "seg" / WEIGHTS)
    kernels = [k for k in start if k.endswith("weight") and start[k].ndim == 5]
    # A teacher whose decay is nearly 1 stands still, whatever its student learns.
    still = train(
        crops,
        tmp_path / "still",
        "--set learning_rate=0.01 --set ema_decay_start=0.9999999 --set ema_decay_end=0.9999999",
    )
    follows = train(
        crops,
        tmp_path / "follows",
        "--set learning_rate=0.01 --set ema_decay_start=0.0 --set ema_decay_end=0.0",
    )
    moved = [float(np.abs(follows[k] - start[k]).max()) for k in kernels]
    assert max(moved) > 1e-3
    # The first step's decay is min(1 - 1 / (t + 1), ...): half of the student's way at most.
    for key in start:
        assert np.allclose(still[key], (start[key] + follows[key]) / 2, atol=1e-6), key
    assert len(scored) == 2
    for key in start:
        assert np.array_equal(scored[0][key], still[key]), key
    record = json.loads((tmp_path / "still" / "run.json").read_text())
    assert set(record["data"]) == {
        "labelled",
        "unlabelled",
        "pseudo_labels",
        "validation",
        "init",
    }


def test_unlabelled_images_change_what_is_learnt(crops: Path, tmp_path: Path) -> None:
    more = "--set learning_rate=0.01 --set consistency_weight=10.0 --set consistency_ramp=0.0"
    real = train(crops, tmp_path / "real", more)
    other = train(crops, tmp_path / "other", more, unlabelled="other")
    assert any(not np.array_equal(real[k], other[k]) for k in real)


def test_start_and_classes_must_fit(crops: Path, tmp_path: Path) -> None:
    words = ("mt-train", crops / "labelled", crops / "real", tmp_path / "run", SEGMENTER)
    for more in ("", "--dry-run"):
        done = vsuda(*words, "--init", crops / "seg", "--classes VS,cochlea,canal", more)
        assert done.code == 2
        assert "was trained on the classes" in done.err
    done = vsuda(*words, "--init", crops / "seg", "--set unet.channels=[3,4,4,4,4,4]")
    assert done.code == 2
    assert "does not fit" in done.err
    assert not (tmp_path / "run").exists()
