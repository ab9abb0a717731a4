"""The values themselves: the paper's, the methods', the small preset's."""

import dataclasses
from typing import Any

import pytest

from vsuda_cli import config
from vsuda_cli.config import (
    CutSegSettings,
    MeanTeacherSettings,
    Preprocessing,
    SegmentationSettings,
    Training,
    TranslationSettings,
    UNet,
)
from vsuda_cli.resolving import differences, from_flat, resolve, to_dict

KINDS: list[type[Training]] = [
    TranslationSettings,
    SegmentationSettings,
    MeanTeacherSettings,
    CutSegSettings,
]


# Of the paper and of the methods' own publications: results can only be compared with these, and
# a typing error in one would go unnoticed otherwise.
PUBLISHED: dict[type, dict[str, Any]] = {
    Preprocessing: {"spacing_mm": (0.46875, 0.46875, 1.5), "percentiles": (0.5, 99.5)},
    UNet: {
        "channels": (16, 32, 48, 64, 80, 96),
        "kernels": ((3, 3, 1),) * 2 + ((3, 3, 3),) * 4,
        "strides": ((2, 2, 1),) * 2 + ((2, 2, 2),) * 3,
        "residual_units": 2,
        "dropout": 0.1,
    },
    Training: {"batch_size": 1, "validation_fraction": 0.12},
    TranslationSettings: {
        "method": "cyclegan",
        "dims": 2,
        "epochs": 200,
        "decay_share": 0.5,
        "learning_rate": 2e-4,
        "betas": (0.5, 0.999),
        "base_channels": 64,
        "residual_blocks": 9,
        "discriminator_channels": 64,
        "discriminator_layers": 3,
        "gan_weight": 1,
        "cycle_weight": 10,
        "identity_weight": 0.5,
        "pool_size": 50,
        "nce_layers": (0, 4, 8, 12, 16),
        "nce_patches": 256,
        "nce_temperature": 0.07,
        "nce_width": 256,
        "nce_weight": 1,
        "nce_identity": True,
        "flip_equivariance": False,
    },
    SegmentationSettings: {
        "classes": ("VS", "cochlea"),
        "learning_rate": 5e-4,
        "weight_decay": 1e-4,
    },
    MeanTeacherSettings: {
        "learning_rate": 5e-5,
        "weight_decay": 1e-4,
        "ema_decay_start": 0.99,
        "ema_decay_end": 0.999,
    },
    CutSegSettings: {
        "epochs": 82,
        "learning_rate": 2e-4,
        "translation_rate": 2e-4,
        "fine_tune_above_mm": 0.5,
    },
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_defaults_are_the_published_values(kind: type) -> None:
    found = kind()
    assert {name: getattr(found, name) for name in PUBLISHED[kind]} == PUBLISHED[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_paper_is_the_default(kind: type[Training]) -> None:
    assert resolve(kind, preset="paper") == kind()


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


def test_every_setting_of_the_presets_exists() -> None:
    tables: list[tuple[type[Training], dict[str, Any]]] = [*config.SMALL.items()]
    tables += [(TranslationSettings, table) for table in config.METHODS.values()]
    tables += [(TranslationSettings, config.THREE_DIMENSIONAL)]
    tables += [(TranslationSettings, config.SMALL_THREE_DIMENSIONAL)]
    for kind, table in tables:
        names = {field.name for field in dataclasses.fields(kind)}
        assert {key.split(".")[0] for key in table} <= names
        from_flat(kind, table, "preset")
