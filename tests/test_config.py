"""Settings: where they come from, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from vsuda_cli import config
from vsuda_cli.config import (
    SMALL,
    CutSegSettings,
    MeanTeacherSettings,
    SegmentationSettings,
    Training,
    TranslationSettings,
    differences,
    from_dict,
    from_flat,
    resolve,
    to_dict,
)
from vsuda_cli.errors import VsudaError

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


def test_the_paper_is_the_default() -> None:
    assert resolve(SegmentationSettings, preset="paper") == SegmentationSettings()
    # Table and text of the paper; a typing error in these would go unnoticed otherwise.
    found = SegmentationSettings()
    assert found.preprocessing.spacing_mm == (0.46875, 0.46875, 1.5)
    assert (found.learning_rate, found.weight_decay, found.batch_size) == (5e-4, 1e-4, 1)
    assert MeanTeacherSettings().learning_rate == 5e-5
    assert (CutSegSettings().learning_rate, CutSegSettings().epochs) == (2e-4, 82)


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
        ("learning_rat = 1", "learning_rat: is no setting of this command; known: epochs, "),
        ("[unet]\nwidth = 3", "unet.width: is no setting of this command; known: channels, "),
        ("[unet.dropout]\nx = 3", "unet.dropout.x: has no parts; set dropout itself"),
        ("epochs = 2.5", "epochs: is 2.5, which is no int; give a int"),
        ("epochs = true", "epochs: is True, which is no int"),
        ("learning_rate = true", "learning_rate: is True, which is no float"),
        ("patch_size = [64, 64, 2.5]", "patch_size: is 2.5, which is no int"),
        ("patch_size = 64", "patch_size: is 64, which is no tuple"),
        ("patch_size = [64, 64]", "patch_size: has 2 values; give 3"),
        ("classes = 'VS'", "classes: is 'VS', which is no tuple"),
        ("unet = 3", "unet: is 3, which is no UNet"),
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
    with pytest.raises(VsudaError, match=r"absent\.toml: cannot be read"):
        resolve(SegmentationSettings, preset="paper", file=tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"preset": "tiny"}, "--preset tiny: is unknown; use paper or small"),
        ({"set_values": ["epochs"]}, "--set epochs: is not KEY=VALUE"),
        ({"set_values": ["epoch=3"]}, "--set: epoch: is no setting"),
        ({"set_values": ["epochs=many"]}, "--set: epochs: is 'many', which is no int"),
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


def test_methods_bring_their_own_values() -> None:
    cyclegan, cut, fastcut, curve = (
        resolve(TranslationSettings, preset="paper", values={"method": method})
        for method in config.METHODS
    )
    assert (cyclegan.epochs, cyclegan.decay_epochs, cyclegan.pool_size) == (200, 100, 50)
    assert (cut.epochs, cut.decay_epochs, cut.pool_size) == (400, 200, 0)
    assert (cut.nce_weight, cut.nce_identity, cut.flip_equivariance) == (1.0, True, False)
    assert (fastcut.epochs, fastcut.decay_epochs, fastcut.pool_size) == (200, 50, 0)
    assert (fastcut.nce_weight, fastcut.nce_identity) == (10.0, False)
    assert fastcut.flip_equivariance
    # A closed form is found once, whatever the preset.
    small = resolve(TranslationSettings, preset="small", values={"method": "curve"})
    assert curve.epochs == curve.steps_per_epoch == small.epochs == small.steps_per_epoch == 1


def test_the_method_may_come_from_the_file_and_is_overridden_by_the_option(tmp_path: Path) -> None:
    file = toml(tmp_path, 'method = "fastcut"\ndims = 3')
    found = resolve(TranslationSettings, preset="paper", file=file)
    assert (found.nce_weight, found.patch_size, found.dims) == (10.0, (128, 128, 16), 3)
    other = resolve(TranslationSettings, preset="paper", file=file, values={"dims": 2})
    assert other.patch_size == (160, 160, 1)
    assert other.nce_weight == 10.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_small_preset_changes_numbers_only(kind: type[Training], dims: int) -> None:
    own = {"dims": dims} if kind is TranslationSettings else {}
    paper = to_dict(resolve(kind, preset="paper", values=own))
    small = to_dict(resolve(kind, preset="small", values=own))
    lines = differences(paper, small)
    assert lines
    for line in lines:
        key, _, change = line.partition(": ")
        old, new = change.split(" -> ")
        assert not any(word in old + new for word in ("True", "False", "'")), key
        # As many levels, axes and layers: the same networks, only narrower.
        assert old.count(",") == new.count(","), key
    assert resolve(kind, preset="small", values=own).epochs <= 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", config.PRESETS)
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


def test_every_setting_of_the_presets_exists() -> None:
    tables: list[tuple[type[Training], dict[str, Any]]] = [*config.SMALL.items()]
    tables += [(TranslationSettings, table) for table in config.METHODS.values()]
    tables += [(TranslationSettings, config.THREE_DIMENSIONAL)]
    tables += [(TranslationSettings, config.SMALL_THREE_DIMENSIONAL)]
    for kind, table in tables:
        names = {field.name for field in dataclasses.fields(kind)}
        assert {key.split(".")[0] for key in table} <= names
        from_flat(kind, table, "preset")
