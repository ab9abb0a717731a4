"""Settings: where they come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from vsuda_cli import resolving
from vsuda_cli.config import (
    SMALL,
    CutSegSettings,
    MeanTeacherSettings,
    SegmentationSettings,
    Training,
    TranslationSettings,
)
from vsuda_cli.errors import VsudaError
from vsuda_cli.resolving import differences, from_dict, from_flat, resolve, to_dict

KINDS: list[type[Training]] = [
    TranslationSettings,
    SegmentationSettings,
    MeanTeacherSettings,
    CutSegSettings,
]


def toml(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_options_beat_the_file_and_the_file_beats_the_preset(tmp_path: Path) -> None:
    file = toml(tmp_path, "epochs = 7\nbatch_size = 3\n[unet]\ndropout = 0.25\n")
    found = resolve(
        SegmentationSettings,
        preset="small",
        file=file,
        values={"epochs": 9, "seed": None},
        set_values=["unet.residual_units=1"],
    )
    assert (found.epochs, found.batch_size) == (9, 3)
    assert (found.unet.dropout, found.unet.residual_units) == (0.25, 1)
    assert found.patch_size == SMALL[SegmentationSettings]["patch_size"]
    assert found.patch_size != SegmentationSettings().patch_size
    assert found.seed == 0


def test_set_reads_toml_values_and_plain_words() -> None:
    found = resolve(
        TranslationSettings,
        preset="paper",
        set_values=["method=cut", "nce_identity = false", "nce_layers=[0, 4]", "betas=[0, 0.9]"],
    )
    assert (found.method, found.nce_identity, found.nce_layers) == ("cut", False, (0, 4))
    assert found.betas == (0.0, 0.9)
    assert all(isinstance(beta, float) for beta in found.betas)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "learning_rat = 1",
            "learning_rat: is no setting of this command; did you mean learning_rate",
        ),
        ("[unet]\nwidth = 3", "unet.width: is no setting of this command; --dry-run lists all"),
        ("[unet.dropout]\nx = 3", "unet.dropout.x: has no parts; set dropout itself"),
        ("epochs = 2.5", "epochs: is 2.5; give a whole number"),
        ("epochs = true", "epochs: is True; give a whole number"),
        ("learning_rate = true", "learning_rate: is True; give a number"),
        ("patch_size = [64, 64, 2.5]", "patch_size: is 2.5; give a whole number"),
        ("patch_size = 64", "patch_size: is 64; give a list of 3, "),
        ("patch_size = [64, 64]", "patch_size: has 2 values; give 3"),
        ("classes = 'VS'", "classes: is 'VS'; give a list "),
        ("unet = 3", "unet: is 3; give its parts, as channels"),
        ("[unet]\nkernels = [[3, 3]]", "unet.kernels: has 2 values; give 3"),
        ("epochs 3", "cannot be read as TOML"),
    ],
)
def test_a_wrong_line_of_the_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(VsudaError) as caught:
        resolve(SegmentationSettings, preset="paper", file=toml(tmp_path, text))
    assert "settings.toml: " in str(caught.value)
    assert problem in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VsudaError, match=r"absent\.toml: does not exist"):
        resolve(SegmentationSettings, preset="paper", file=tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"preset": "tiny"}, "--preset tiny: is unknown; use paper or small"),
        ({"set_values": ["epochs"]}, "--set epochs: is not KEY=VALUE"),
        ({"set_values": ["epoch=3"]}, "--set: epoch: is no setting"),
        ({"set_values": ["epochs=many"]}, "--set: epochs: is 'many'; give a whole number"),
        ({"set_values": ["dims=many"]}, "--dims many: is neither 2 nor 3"),
        ({"values": {"method": "magic"}}, "--method magic: is unknown; use one of cyclegan, cut,"),
        ({"values": {"dims": 4}}, "--dims 4: is neither 2 nor 3"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, wrong: dict[str, Any], problem: str) -> None:
    # The file is right; what is wrong on the command line must not be blamed on it.
    file = toml(tmp_path, "epochs = 3")
    with pytest.raises(VsudaError) as caught:
        resolve(TranslationSettings, **{"preset": "paper", "file": file, **wrong})
    assert problem in str(caught.value)
    assert "settings.toml" not in str(caught.value)


def test_the_method_may_come_from_the_file_and_is_overridden_by_the_option(tmp_path: Path) -> None:
    file = toml(tmp_path, 'method = "fastcut"\ndims = 3')
    found = resolve(TranslationSettings, preset="paper", file=file)
    assert (found.nce_weight, found.patch_size, found.dims) == (10.0, (128, 128, 16), 3)
    other = resolve(TranslationSettings, preset="paper", file=file, values={"dims": 2})
    assert other.patch_size == (160, 160, 1)
    assert other.nce_weight == 10.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", resolving.PRESETS)
def test_settings_come_back_from_toml(tmp_path: Path, kind: type[Training], preset: str) -> None:
    settings = resolve(kind, preset=preset, set_values=["seed=5", "gradient_clip=0.5"])
    file = toml(tmp_path, tomli_w.dumps(to_dict(settings)))
    assert resolve(kind, preset="paper", file=file) == settings
    assert from_dict(kind, to_dict(settings), "stored") == settings


def test_differences_name_the_setting() -> None:
    old = to_dict(SegmentationSettings())
    new = to_dict(from_flat(SegmentationSettings, {"unet.dropout": 0.5, "epochs": 2}, "x"))
    assert differences(old, old) == []
    assert differences(old, new) == ["epochs: 300 -> 2", "unet.dropout: 0.1 -> 0.5"]
    del new["seed"]
    assert "seed: 0 -> None" in differences(old, new)
