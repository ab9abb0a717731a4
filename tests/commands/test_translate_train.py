"""`translate-train`: every method makes its own kind of run; settings come from where they say."""

import json
import tomllib
from pathlib import Path

import pytest
from command_line import contents, vsuda
from safetensors import safe_open
from synthetic_crops import SEGMENTER, TRANSLATOR, save_crops

from vsuda_cli.training.run import Run

pytestmark = pytest.mark.usefixtures("plain_pages")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    save_crops(folder / "source", None, "ceT1", dict.fromkeys(["a0_R", "a1_R"], 1.0))
    save_crops(folder / "target", None, "hrT2", dict.fromkeys(["b0_R", "b1_L"], 1.0))
    return folder


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guided")
    cases = dict.fromkeys(["s0_R", "s1_R", "s2_R"], 1.0)
    save_crops(folder / "source", folder / "source", "ceT1", cases)
    save_crops(folder / "target", None, "hrT2", cases)
    assert vsuda("seg-train", folder / "source", folder / "seg", SEGMENTER).code == 0
    return folder


def names_of_weights(run: Path) -> set[str]:
    (file,) = (run / "checkpoints").glob("*.safetensors")
    with safe_open(file, framework="pt") as stored:
        return {key.split(".")[0] for key in stored.keys()}  # noqa: SIM118


@pytest.mark.parametrize(
    ("method", "dims", "more"),
    [
        ("cyclegan", 2, ""),
        ("cyclegan", 3, "--set patch_size=[24,24,8]"),
        ("fastcut", 2, ""),
    ],
)
def test_methods_make_runs(crops: Path, tmp_path: Path, method: str, dims: int, more: str) -> None:
    run = tmp_path / "run"
    words = f"--method {method} --dims {dims}"
    done = vsuda(
        "translate-train", crops / "source", crops / "target", run, words, TRANSLATOR, more
    )
    assert done.code == 0, done.err
    assert done.lines == [str(run / "checkpoints" / "epoch-0001.safetensors")]
    settings = tomllib.loads((run / "config.toml").read_text())
    assert (settings["method"], settings["dims"]) == (method, dims)
    # FastCUT trades the identity term for flips, CycleGAN has neither.
    assert settings["flip_equivariance"] == (method == "fastcut")
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["validation_distance"] > 0
    assert "generator" in names_of_weights(run)
    record = json.loads((run / "run.json").read_text())
    assert record["command"] == "translate-train"
    assert {"source", "target"} <= set(record["data"])
    assert json.loads((run / "best.json").read_text())["epoch"] == 1
    assert list((run / "samples").glob("*.png"))


def test_pseudo_images_are_named_after_the_runs_target(crops: Path, tmp_path: Path) -> None:
    words = ("translate-train", crops / "target", crops / "source", tmp_path / "back")
    assert vsuda(*words, "--method curve --preset small --device cpu").code == 0
    done = vsuda("translate-export", tmp_path / "back", crops / "target", tmp_path / "out")
    assert done.code == 0, done.err
    assert {Path(line).name.rpartition("_")[2] for line in done.lines} == {"ceT1.nii.gz"}


def test_a_runs_own_config_trains_it_again(crops: Path, tmp_path: Path) -> None:
    words = ("translate-train", crops / "source", crops / "target")
    assert vsuda(*words, tmp_path / "a", "--method cut --seed 3", TRANSLATOR).code == 0
    config = tmp_path / "a" / "config.toml"
    done = vsuda(*words, tmp_path / "b", "--device cpu --config", config)
    assert done.code == 0, done.err
    first, second = (contents(tmp_path / run) for run in "ab")
    weights = "checkpoints/epoch-0001.safetensors"
    assert first["config.toml"] == second["config.toml"]
    assert first[weights] == second[weights]
    # And another seed trains another network.
    assert vsuda(*words, tmp_path / "c", "--device cpu --seed 4 --config", config).code == 0
    assert contents(tmp_path / "c")[weights] != first[weights]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("--method wgan", "cyclegan, cut, fastcut"),
        ("--dims 4", "--dims 4"),
        ("--preset large", "paper or small"),
        ("--set no_such=1", "no_such"),
        ("--set epochs=many", "epochs"),
        ("--set patch_size=[32,32,4]", "is not of 2 dimensions"),
        ("--dims 3 --set patch_size=[32,32,1]", "is not of 3 dimensions"),
        ("--set patch_size=[4,4,1]", "smaller than what the discriminator judges"),
        ("--method cut --set nce_layers=[]", "no different layers of the encoder"),
        ("--method cut --set residual_blocks=3 --set nce_layers=[0,16]", "which are 0 to 14"),
        ("--resume --force", "contradicts"),
        ("--device tpu", "tpu"),
    ],
)
def test_wrong_settings_are_refused(crops: Path, tmp_path: Path, more: str, told: str) -> None:
    done = vsuda("translate-train", crops / "source", crops / "target", tmp_path / "run", more)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_a_guides_loss_is_logged_and_its_run_recorded(
    method: str, guided: Path, tmp_path: Path
) -> None:
    words = [guided / "source", guided / "target", tmp_path / "run", TRANSLATOR]
    done = vsuda("translate-train", *words, "--method", method, "--segmenter", guided / "seg")
    assert done.code == 0, done.err
    row = json.loads(Run(tmp_path / "run").metrics.read_text().splitlines()[0])
    assert row["guide"] > 0
    assert json.loads(Run(tmp_path / "run").provenance.read_text())["data"]["segmenter"]


def test_a_guide_of_other_preprocessing_is_refused(guided: Path, tmp_path: Path) -> None:
    words = [guided / "source", guided / "target", tmp_path / "run", TRANSLATOR]
    words += ["--set preprocessing.spacing_mm=[1.0,1.0,3.0] --segmenter", guided / "seg"]
    refused = vsuda("translate-train", *words)
    assert refused.code == 2
    assert "was trained with" in refused.err


def test_a_guide_that_does_not_segment_is_refused(guided: Path, tmp_path: Path) -> None:
    words = [guided / "source", guided / "target"]
    assert vsuda("translate-train", *words, tmp_path / "gan", TRANSLATOR).code == 0
    more = [tmp_path / "x", TRANSLATOR, "--segmenter", tmp_path / "gan"]
    refused = vsuda("translate-train", *words, *more, "--dry-run")
    assert refused.code == 2
    assert "does not segment" in refused.err
