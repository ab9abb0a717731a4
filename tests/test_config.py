"""The values themselves: the paper's, the methods', the small preset's."""

import dataclasses
from typing import Any

import pytest

from vsuda_cli import config
from vsuda_cli.config import (
    CutSegSettings,
    MeanTeacherSettings,
    SegmentationSettings,
    Training,
    TranslationSettings,
)
from vsuda_cli.resolving import differences, from_flat, resolve, to_dict

KINDS: list[type[Training]] = [
    TranslationSettings,
    SegmentationSettings,
    MeanTeacherSettings,
    CutSegSettings,
]


def test_the_paper_is_the_default() -> None:
    assert resolve(SegmentationSettings, preset="paper") == SegmentationSettings()
    # Table and text of the paper; a typing error in these would go unnoticed otherwise.
    found = SegmentationSettings()
    assert found.preprocessing.spacing_mm == (0.46875, 0.46875, 1.5)
    assert (found.learning_rate, found.weight_decay, found.batch_size) == (5e-4, 1e-4, 1)
    assert MeanTeacherSettings().learning_rate == 5e-5
    assert (CutSegSettings().learning_rate, CutSegSettings().epochs) == (2e-4, 82)


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
