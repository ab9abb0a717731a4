"""Learning from what a model is sure of: contrast curve, predictions, pseudo-labels, next round."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Result, vsuda
from synthetic_crops import SEGMENTER, TRANSLATOR, save_crops

from vsuda_cli.commands import segmenting
from vsuda_cli.config import SegmentationSettings
from vsuda_cli.io.cases import labelled_images
from vsuda_cli.io.nifti import load_label, save_label
from vsuda_cli.resolving import resolve
from vsuda_cli.training.lesions import find_lesions, whole_lesions
from vsuda_cli.training.run import Run
from vsuda_cli.training.transplant import transplant_lesions

pytestmark = pytest.mark.usefixtures("plain_pages")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    source = dict.fromkeys(["s0_R", "s1_R", "s2_R"], 1.0)
    save_crops(folder / "source", folder / "source", "ceT1", source)
    save_crops(folder / "target", None, "hrT2", dict.fromkeys(["s0_R", "s1_R"], 1.0))
    return folder


def done(*words: object) -> Result:
    """Run a command that must succeed."""
    result = vsuda(*words)
    assert result.code == 0, result.err
    return result


def test_a_round_of_self_training(crops: Path, tmp_path: Path) -> None:
    source, target = crops / "source", crops / "target"
    first, second = tmp_path / "first", tmp_path / "second"
    curves = ["--set curve_share=1.0 --set structure_share=0.5 --unlabelled", target]
    assert "contrast curve: 0." in done("seg-train", source, first, SEGMENTER, *curves).err
    done("predict", first, target, tmp_path / "guesses", "--probabilities")
    sure = ["--set pseudo_confidence=0.3 --init", first]
    more = ["--unlabelled", target, "--pseudo-labels", tmp_path / "guesses"]
    done("seg-train", source, second, SEGMENTER, *sure, *more)
    data = json.loads(Run(second).provenance.read_text())["data"]
    assert data["pseudo_labels"] and data["unlabelled"] and data["init"]
    # What is learnt from the guesses changes the network.
    third = tmp_path / "third"
    done("seg-train", source, third, SEGMENTER, *sure)
    assert Run(third).weights(1).read_bytes() != Run(second).weights(1).read_bytes()


def test_where_no_label_ever_lies_unlabelled_crops_teach_background(
    crops: Path, tmp_path: Path
) -> None:
    source, target = crops / "source", crops / "target"
    margin = "--set background_margin_mm=1.0"
    run = tmp_path / "run"
    said = done("seg-train", source, run, SEGMENTER, margin, "--unlabelled", target).err
    assert "background for certain: " in said and "background for certain: 0%" not in said
    without = tmp_path / "without"
    done("seg-train", source, without, SEGMENTER)
    assert Run(run).weights(1).read_bytes() != Run(without).weights(1).read_bytes()
    taught = tmp_path / "taught"
    done("mt-train", source, target, taught, SEGMENTER, margin, "--init", run)
    rows = [json.loads(line) for line in Run(taught).metrics.read_text().splitlines()]
    assert all(row["known"] > 0 for row in rows if "consistency" in row)


def test_what_no_structure_looks_like_teaches_background(crops: Path, tmp_path: Path) -> None:
    source, target = crops / "source", crops / "target"
    words = ["seg-train", source, "--unlabelled", target, SEGMENTER]
    said = []
    for low in (0.1, 0.9):
        ranges = f"--set structure_ranges=[[{low},1.0],[{low},1.0]]"
        run = tmp_path / f"run-{low}"
        told = done(*words[:2], run, *words[2:], ranges, "--set exclude_by_intensity=true").err
        said.append(int(told.split("background for certain: ")[1].split("%")[0]))
    assert 0 <= said[0] < said[1] < 100


def test_lesions_of_other_subjects_are_learnt_from(crops: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(crops / "source", source)
    for case in ("s0_R", "s1_R"):
        without_tumour(source / f"{case}_Label.nii.gz")
    words = [SEGMENTER, "--set validation_fraction=0"]
    run, without = tmp_path / "run", tmp_path / "without"
    said = done("seg-train", source, run, *words, "--set lesion_copies=1").err
    assert "2 copies of crops with lesions of other subjects" in said
    done("seg-train", source, without, *words)
    assert Run(run).weights(1).read_bytes() != Run(without).weights(1).read_bytes()


def test_copies_make_no_anatomy_of_a_lesion(tmp_path: Path) -> None:
    save_crops(tmp_path, tmp_path, "ceT1", dict.fromkeys([f"s{n}_R" for n in range(7)], 1.0))
    for case in ("s0_R", "s1_R", "s2_R"):
        without_tumour(tmp_path / f"{case}_Label.nii.gz")
    values: dict[str, object] = {"lesion_copies": 4, "structure_share": 1.0}
    values |= {"validation_fraction": 0.0, "structure_ranges": ((0.3, 0.8), (0.7, 1.0))}
    settings = resolve(SegmentationSettings, preset="small", values=values)
    device = torch.device("cpu")
    items, _ = segmenting.load_labelled(labelled_images(tmp_path, None), [], settings, device)
    segmenting.labelled_sampler(items, settings, device)
    assert len(items) == 7
    # With the copies a tumour would be in so many crops as only anatomy is.
    copies = transplant_lesions(items, whole_lesions(items, [1]), [1], 4, 0)
    assert find_lesions(items + copies, 2) == []
    anchors = segmenting.known_contrast(items, [], settings, device).anchors
    assert anchors is not None and len(anchors) == 1


@pytest.fixture(scope="module")
def two_ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return labelled and unlabelled crops of both ears, and a run's guesses of the latter.

    The labelled left ears have no tumour.
    """
    folder = tmp_path_factory.mktemp("two_ears")
    cases = dict.fromkeys([f"s{n}_{side}" for n in range(3) for side in "LR"], 1.0)
    save_crops(folder / "source", folder / "source", "ceT1", cases)
    save_crops(folder / "target", None, "hrT2", dict.fromkeys(["t_L", "t_R"], 1.0))
    for number in range(3):
        without_tumour(folder / "source" / f"s{number}_L_Label.nii.gz")
    done("seg-train", folder / "source", folder / "run", SEGMENTER)
    done("predict", folder / "run", folder / "target", folder / "guesses", "--probabilities")
    return folder


def without_tumour(path: Path) -> None:
    label = load_label(path)
    save_label(path, np.where(label.array == 1, 0, label.array), label.affine)


GRAFTS = "--set lesion_grafts=2"
RANGES = "--set structure_ranges=[[0.3,0.8],[0.7,1.0]]"


def test_lesions_are_grafted_into_the_ear_that_has_none(two_ears: Path, tmp_path: Path) -> None:
    target, guesses = two_ears / "target", two_ears / "guesses"
    words = [SEGMENTER, RANGES, "--set validation_fraction=0 --unlabelled", target]
    words += ["--pseudo-labels", guesses]
    runs = [tmp_path / name for name in ("grafted", "again", "without")]
    for run, more in zip(runs, (GRAFTS, GRAFTS, ""), strict=True):
        said = done("seg-train", two_ears / "source", run, *words, more).err
        expected = "1 unlabelled crops without a lesion; 2 copies with one"
        assert (expected in said) == bool(more)
    first, again, without = (Run(run).weights(1).read_bytes() for run in runs)
    assert first == again != without


def test_a_mean_teacher_learns_from_guesses_and_grafts(two_ears: Path, tmp_path: Path) -> None:
    source, target = two_ears / "source", two_ears / "target"
    guessed = [RANGES, "--pseudo-labels", two_ears / "guesses"]
    sure = [*guessed, "--set pseudo_confidence=0.3"]
    first = ["--set validation_fraction=0 --init", two_ears / "run"]
    weights = {}
    for name, more in {
        "plain": [RANGES],
        "guessed": sure,
        "grafted": [*guessed, GRAFTS],
        "again": [*guessed, GRAFTS],
    }.items():
        run = tmp_path / name
        said = done("mt-train", source, target, run, SEGMENTER, *first, *more).err
        assert ("2 copies with one" in said) == (GRAFTS in more)
        rows = [json.loads(line) for line in Run(run).metrics.read_text().splitlines()]
        assert all(("known" in row) == (name != "plain") for row in rows if "consistency" in row)
        assert bool(json.loads(Run(run).provenance.read_text())["data"]["pseudo_labels"]) == (
            name != "plain"
        )
        weights[name] = Run(run).weights(1).read_bytes()
    assert weights["grafted"] == weights.pop("again")
    assert len(set(weights.values())) == 3


def test_cutseg_learns_from_guesses_and_grafts_in_both_its_stages(
    two_ears: Path, tmp_path: Path
) -> None:
    source, target = two_ears / "source", two_ears / "target"
    cut = tmp_path / "cut"
    whole = "--set validation_fraction=0"
    done("translate-train", source, target, cut, "--method cut", TRANSLATOR, whole)
    words = [SEGMENTER, RANGES, whole, "--init-translation", cut]
    words += ["--set fine_tune_above_mm=0.9 --set fine_tune_epochs=1"]
    guessed = ["--pseudo-labels", two_ears / "guesses"]
    weights = {}
    for name, more in {"plain": [], "guessed": guessed, "grafted": [*guessed, GRAFTS]}.items():
        run = tmp_path / name
        said = done("cutseg-train", source, target, run, *words, *more).err
        # The crops are coarse: fine-tuning has them too.
        assert said.count("2 copies with one") == (2 if name == "grafted" else 0)
        rows = [json.loads(line) for line in Run(run).metrics.read_text().splitlines()]
        assert all(("known" in row) == (name != "plain") for row in rows if "contrast" in row)
        weights[name] = Run(run).weights(1).read_bytes()
    assert len(set(weights.values())) == 3
    refused = vsuda("cutseg-train", source, target, tmp_path / "none", *words, GRAFTS)
    assert refused.code == 2
    assert "give --pseudo-labels" in refused.err


def test_grafts_need_to_know_which_ears_have_no_lesion(two_ears: Path, tmp_path: Path) -> None:
    source, target, run = two_ears / "source", two_ears / "target", tmp_path / "run"
    sure = ["--pseudo-labels", two_ears / "guesses"]
    start = ["seg-train", source, run, SEGMENTER, GRAFTS, "--set validation_fraction=0"]
    curves = "--set curve_share=1"
    one_ear = tmp_path / "one_ear"
    one_ear.mkdir()
    shutil.copy(target / "t_L_hrT2.nii.gz", one_ear)
    both = tmp_path / "both"
    shutil.copytree(source, both)
    without_tumour(both / "s0_R_Label.nii.gz")
    without_tumour(both / "s1_R_Label.nii.gz")
    shutil.copy(both / "s2_R_Label.nii.gz", both / "s2_L_Label.nii.gz")
    everywhere = tmp_path / "everywhere"
    shutil.copytree(source, everywhere)
    for number in range(3):
        name = everywhere / f"s{number}"
        shutil.copy(f"{name}_R_Label.nii.gz", f"{name}_L_Label.nii.gz")
    for words, message in (
        ([*start, RANGES, "--unlabelled", target, curves], "give --pseudo-labels"),
        ([*start, "--unlabelled", target, *sure], "give --set structure_ranges"),
        ([*start, RANGES, "--unlabelled", one_ear, *sure], "has crops of both ears"),
        ([start[0], both, *start[2:], RANGES, "--unlabelled", target, *sure], "in both ears"),
        ([start[0], everywhere, *start[2:], RANGES, "--unlabelled", target, *sure], "no label is"),
        (["mt-train", source, target, run, SEGMENTER, RANGES, GRAFTS], "give --pseudo-labels"),
    ):
        refused = vsuda(*words)
        assert refused.code == 2
        assert message in refused.err
        assert not run.exists()


def test_options_that_nothing_would_read_are_refused(crops: Path, tmp_path: Path) -> None:
    words = ["seg-train", crops / "source", tmp_path / "run", SEGMENTER]
    refused = vsuda(*words, "--unlabelled", crops / "target")
    assert refused.code == 2
    assert "curve_share" in refused.err
    refused = vsuda(*words, "--pseudo-labels", crops / "target")
    assert refused.code == 2
    assert "have no images" in refused.err
    refused = vsuda(*words, "--set background_margin_mm=5")
    assert refused.code == 2
    assert "has no images to mark" in refused.err
    refused = vsuda(*words, "--set structure_factors=[[0.5,2.0]]")
    assert refused.code == 2
    assert "structure_factors: has 1 ranges for 2 structures" in refused.err
    for ranges, known in (("", 0), ("--set structure_ranges=[[0.3,0.8]]", 1)):
        refused = vsuda(*words, "--set exclude_by_intensity=true", ranges)
        assert refused.code == 2
        assert f"knows the intensities of {known} of 2 structures" in refused.err
    assert not (tmp_path / "run").exists()


def test_an_image_without_probabilities_is_named(crops: Path, tmp_path: Path) -> None:
    source, target, run = crops / "source", crops / "target", tmp_path / "run"
    done("seg-train", source, run, SEGMENTER)
    guesses = tmp_path / "guesses"
    done("predict", run, target / "s0_R_hrT2.nii.gz", guesses, "--probabilities")
    words = ["--unlabelled", target, "--pseudo-labels", guesses]
    refused = vsuda("seg-train", source, tmp_path / "next", SEGMENTER, *words)
    assert refused.code == 2
    assert "s1_R_Probability" in refused.err
