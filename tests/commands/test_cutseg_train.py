"""`cutseg-train`: two networks in one run, a teacher that counts, fine-tuning on coarse scans."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Result, contents, vsuda
from safetensors.numpy import load_file
from synthetic_crops import SEGMENTER, TRANSLATOR, save_crops

pytestmark = pytest.mark.usefixtures("plain_pages")

WEIGHTS = "checkpoints/epoch-0001.safetensors"
# Fine-tuning takes two epochs, and is validated after the last one only.
TUNED = "fine-tuned/checkpoints/epoch-0002.safetensors"
FINE_TUNING = "--set fine_tune_above_mm=0.9 --set fine_tune_epochs=2"


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    cases = dict.fromkeys(["a0_R", "a1_R", "a2_L"], 1.0)
    save_crops(folder / "source", folder / "source", "ceT1", cases)
    save_crops(folder / "target", None, "hrT2", {"b0_R": 1.0, "b1_L": 0.8})
    words = ("translate-train", folder / "source", folder / "target", folder / "cut")
    # Of other seeds: nothing but their weights makes a run like them.
    assert vsuda(*words, "--method cut --seed 1", TRANSLATOR).code == 0
    seg = ("seg-train", folder / "source", folder / "seg", SEGMENTER)
    assert vsuda(*seg, "--seed 1").code == 0
    return folder


def words(crops: Path, run: Path) -> tuple[object, ...]:
    start = ("--init-translation", crops / "cut")
    return ("cutseg-train", crops / "source", crops / "target", run, SEGMENTER, *start)


@pytest.fixture(scope="module")
def run(crops: Path) -> Path:
    done = vsuda(
        *words(crops, crops / "run"),
        FINE_TUNING,
        "--teacher",
        crops / "seg",
    )
    assert done.code == 0, done.err
    assert done.lines == [str(crops / "run" / name) for name in (WEIGHTS, TUNED)]
    return crops / "run"


def test_a_run_holds_both_networks_and_goes_to_both_commands(
    crops: Path, run: Path, tmp_path: Path
) -> None:
    kinds = {key.split(".")[0] for key in load_file(run / WEIGHTS)}
    assert {"generator", "segmenter"} <= kinds
    done = vsuda("predict", run, crops / "target", tmp_path / "found", "--device cpu")
    assert (done.code, len(done.lines)) == (0, 2), done.err
    done = vsuda("translate-export", run, crops / "source", tmp_path / "pseudo", "--device cpu")
    assert (done.code, len(done.lines)) == (0, 6), done.err


def test_coarse_targets_fine_tune_a_run_of_their_own(run: Path) -> None:
    both, coarse = (
        json.loads((folder / "run.json").read_text())["data"]
        for folder in (run, run / "fine-tuned")
    )
    assert both["target"] != coarse["target"]
    assert both["source"] == coarse["source"]
    first, tuned = (load_file(run / name) for name in (WEIGHTS, TUNED))
    assert set(first) == set(tuned)
    assert any((first[key] != tuned[key]).any() for key in first)


def test_without_coarse_targets_or_teacher_it_is_said(
    crops: Path, run: Path, tmp_path: Path
) -> None:
    done = vsuda(*words(crops, tmp_path / "run"), "--set fine_tune_above_mm=3.0")
    assert done.code == 0, done.err
    assert "no --teacher" in done.err
    assert "no fine-tuning: 0 target images have pixels above 3.0 mm" in done.err
    assert not (tmp_path / "run" / "fine-tuned").exists()
    # The teacher counts.
    alone, taught = load_file(tmp_path / "run" / WEIGHTS), load_file(run / WEIGHTS)
    assert any((alone[key] != taught[key]).any() for key in alone)


def test_it_starts_from_the_translation_and_the_segmenter_from_a_run_too(
    crops: Path, tmp_path: Path
) -> None:
    still = "--set learning_rate=1e-12 --set translation_rate=1e-12 --set fine_tune_above_mm=3.0"
    done = vsuda(*words(crops, tmp_path / "run"), still, "--init", crops / "seg")
    assert done.code == 0, done.err
    assert "starting from " in done.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["init"]
    start = load_file(crops / "seg" / WEIGHTS) | load_file(crops / "cut" / WEIGHTS)
    end = load_file(tmp_path / "run" / WEIGHTS)
    assert set(start) == set(end)
    for key, values in start.items():
        assert np.allclose(values, end[key], atol=1e-6), key


def test_resuming_a_finished_run_changes_nothing(crops: Path, run: Path) -> None:
    before = contents(run)
    done = vsuda(
        *words(crops, run),
        FINE_TUNING,
        "--resume --teacher",
        crops / "seg",
    )
    assert (done.code, len(done.lines)) == (0, 2), done.err
    assert contents(run) == before


def test_a_dry_run_refuses_what_resuming_would(crops: Path, run: Path) -> None:
    def resume(*more: object) -> Result:
        teacher = ("--teacher", crops / "seg")
        return vsuda(*words(crops, run), FINE_TUNING, "--resume --dry-run", *teacher, *more)

    before = contents(run)
    assert resume().lines == [str(run)]
    done = resume("--set learning_rate=0.5")
    assert done.code == 2
    assert "learning_rate" in done.err
    assert contents(run) == before
    # The run inside is one of both.
    record = run / "fine-tuned" / "run.json"
    kept = record.read_text()
    record.write_text(json.dumps({**json.loads(kept), "processes": 2}))
    done = resume()
    record.write_text(kept)
    assert (done.code, done.lines) == (2, [])
    assert f"{run / 'fine-tuned'}: was started with another number of processes" in done.err


def test_runs_of_other_kinds_and_settings_are_refused(crops: Path, tmp_path: Path) -> None:
    plain = ("cutseg-train", crops / "source", crops / "target", tmp_path / "run", SEGMENTER)
    done = vsuda(*plain, "--init-translation", crops / "seg")
    assert done.code == 2
    assert "is a run of seg-train" in done.err
    for run in ("--teacher", "--init"):
        for more in ((), ("--dry-run",)):
            done = vsuda(*words(crops, tmp_path / "run"), run, crops / "cut", *more)
            assert done.code == 2
            assert "does not segment" in done.err
    done = vsuda(*words(crops, tmp_path / "run"), "--set curve_distance=0.4")
    assert done.code == 2
    assert "--set curve_distance: is about a curve" in done.err
    done = vsuda(*words(crops, tmp_path / "run"), "--set preprocessing.spacing_mm=[2.0,2.0,2.0]")
    assert done.code == 2
    assert "--set preprocessing" in done.err
    assert not (tmp_path / "run").exists()
