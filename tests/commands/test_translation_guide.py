"""`translate-train --segmenter`: a run that segments guides the translation, or is refused."""

import json
from pathlib import Path

import pytest
from tiny_crops import ONE_STEP, TINY_GAN, TINY_UNET, options, vsuda, write_crops

from vsuda_cli.errors import VsudaError
from vsuda_cli.training.run import Run

TRAIN = options(TINY_UNET, ONE_STEP)
TRANSLATE = options(TINY_GAN, ONE_STEP)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    write_crops(folder / "source", "ceT1", 3, labelled=True, dark=False)
    write_crops(folder / "target", "hrT2", 3, labelled=False, dark=True)
    vsuda("seg-train", folder / "source", folder / "seg", *TRAIN)
    return folder


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_its_loss_is_logged_and_its_run_recorded(method: str, world: Path, tmp_path: Path) -> None:
    words = [world / "source", world / "target", tmp_path / "run", *TRANSLATE]
    vsuda("translate-train", *words, "--method", method, "--segmenter", world / "seg")
    row = json.loads(Run(tmp_path / "run").metrics.read_text().splitlines()[0])
    assert row["guide"] > 0
    assert json.loads(Run(tmp_path / "run").provenance.read_text())["data"]["segmenter"]


def test_other_preprocessing_is_refused(world: Path, tmp_path: Path) -> None:
    words = [world / "source", world / "target", tmp_path / "run", *TRANSLATE]
    words += ["--set=preprocessing.spacing_mm=[1.0, 1.0, 3.0]", "--segmenter", world / "seg"]
    with pytest.raises(VsudaError, match="was trained with"):
        vsuda("translate-train", *words)


def test_a_run_that_does_not_segment_is_refused(world: Path, tmp_path: Path) -> None:
    words = [world / "source", world / "target"]
    vsuda("translate-train", *words, tmp_path / "gan", *TRANSLATE)
    with pytest.raises(VsudaError, match="does not segment"):
        vsuda(
            "translate-train", *words, tmp_path / "x", *TRANSLATE, "--segmenter", tmp_path / "gan"
        )
