"""Learning from what a model is sure of: contrast curve, predictions, pseudo-labels, next round."""

import json
from pathlib import Path

import pytest
from tiny_crops import ONE_STEP, TINY_UNET, options, vsuda, write_crops

from vsuda_cli.errors import VsudaError
from vsuda_cli.training.run import Run

TRAIN = options(TINY_UNET, ONE_STEP)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    write_crops(folder / "source", "ceT1", 3, labelled=True, dark=False)
    write_crops(folder / "target", "hrT2", 2, labelled=False, dark=True)
    return folder


def test_a_round_of_self_training(crops: Path, tmp_path: Path) -> None:
    source, target = crops / "source", crops / "target"
    first, second = tmp_path / "first", tmp_path / "second"
    curves = ["--set=curve_share=1.0", "--set=structure_share=0.5", "--unlabelled", target]
    said = vsuda("seg-train", source, first, *TRAIN, *curves)
    assert "contrast curve: 0." in said
    vsuda("predict", first, target, tmp_path / "guesses", "--probabilities")
    more = ["--unlabelled", target, "--pseudo-labels", tmp_path / "guesses", "--init", first]
    vsuda("seg-train", source, second, *TRAIN, *more, "--set=pseudo_confidence=0.3")
    data = json.loads(Run(second).provenance.read_text())["data"]
    assert data["pseudo_labels"] and data["unlabelled"] and data["init"]
    # What is learnt from the guesses changes the network.
    third = tmp_path / "third"
    vsuda("seg-train", source, third, *TRAIN, "--init", first, "--set=pseudo_confidence=0.3")
    assert Run(third).weights(1).read_bytes() != Run(second).weights(1).read_bytes()


def test_options_that_nothing_would_read_are_refused(crops: Path, tmp_path: Path) -> None:
    source, target = crops / "source", crops / "target"
    with pytest.raises(VsudaError, match="curve_share"):
        vsuda("seg-train", source, tmp_path / "run", *TRAIN, "--unlabelled", target)
    with pytest.raises(VsudaError, match="have no images"):
        vsuda("seg-train", source, tmp_path / "run", *TRAIN, "--pseudo-labels", target)
    assert not (tmp_path / "run").exists()


def test_an_image_without_probabilities_is_named(crops: Path, tmp_path: Path) -> None:
    source, target = crops / "source", crops / "target"
    run = tmp_path / "run"
    vsuda("seg-train", source, run, *TRAIN)
    guesses = tmp_path / "guesses"
    vsuda("predict", run, target / "s0_R_hrT2.nii.gz", guesses, "--probabilities")
    words = ["--unlabelled", target, "--pseudo-labels", guesses]
    with pytest.raises(VsudaError, match="s1_R_Probability"):
        vsuda("seg-train", source, tmp_path / "next", *TRAIN, *words)
