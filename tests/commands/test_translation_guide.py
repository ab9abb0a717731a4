"""`translate-train --segmenter`: a run that segments guides the translation, or is refused."""

import json
from pathlib import Path

import pytest
from command_line import vsuda
from synthetic_crops import SEGMENTER, TRANSLATOR, save_crops

from vsuda_cli.training.run import Run

pytestmark = pytest.mark.usefixtures("plain_pages")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    cases = dict.fromkeys(["s0_R", "s1_R", "s2_R"], 1.0)
    save_crops(folder / "source", folder / "source", "ceT1", cases)
    save_crops(folder / "target", None, "hrT2", cases)
    assert vsuda("seg-train", folder / "source", folder / "seg", SEGMENTER).code == 0
    return folder


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_its_loss_is_logged_and_its_run_recorded(method: str, world: Path, tmp_path: Path) -> None:
    words = [world / "source", world / "target", tmp_path / "run", TRANSLATOR]
    done = vsuda("translate-train", *words, "--method", method, "--segmenter", world / "seg")
    assert done.code == 0, done.err
    row = json.loads(Run(tmp_path / "run").metrics.read_text().splitlines()[0])
    assert row["guide"] > 0
    assert json.loads(Run(tmp_path / "run").provenance.read_text())["data"]["segmenter"]


def test_other_preprocessing_is_refused(world: Path, tmp_path: Path) -> None:
    words = [world / "source", world / "target", tmp_path / "run", TRANSLATOR]
    words += ["--set preprocessing.spacing_mm=[1.0,1.0,3.0] --segmenter", world / "seg"]
    refused = vsuda("translate-train", *words)
    assert refused.code == 2
    assert "was trained with" in refused.err


def test_a_run_that_does_not_segment_is_refused(world: Path, tmp_path: Path) -> None:
    words = [world / "source", world / "target"]
    assert vsuda("translate-train", *words, tmp_path / "gan", TRANSLATOR).code == 0
    guided = [tmp_path / "x", TRANSLATOR, "--segmenter", tmp_path / "gan"]
    refused = vsuda("translate-train", *words, *guided, "--dry-run")
    assert refused.code == 2
    assert "does not segment" in refused.err
