"""Settings that no training can follow are refused by their name, before any case is read."""

import pytest

from vsuda_cli.config import (
    CutSegSettings,
    MeanTeacherSettings,
    SegmentationSettings,
    Training,
    TranslationSettings,
)
from vsuda_cli.errors import VsudaError
from vsuda_cli.resolving import resolve


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SegmentationSettings, "batch_size=0"),
        (SegmentationSettings, "accumulate=0"),
        (SegmentationSettings, "epochs=0"),
        (SegmentationSettings, "validate_every=0"),
        (SegmentationSettings, "checkpoint_every=0"),
        (SegmentationSettings, "save_every=0"),
        (SegmentationSettings, "steps_per_epoch=-1"),
        (SegmentationSettings, "patch_size=[32, 0, 8]"),
        (SegmentationSettings, "lesion_copies=-1"),
        (SegmentationSettings, "learning_rate=-0.001"),
        (SegmentationSettings, "learning_rate=0.0"),
        (SegmentationSettings, "learning_rate=nan"),
        (SegmentationSettings, "weight_decay=nan"),
        (SegmentationSettings, "seed=-3"),
        (SegmentationSettings, "curve_share=1.5"),
        (SegmentationSettings, "mirror_share=2"),
        (SegmentationSettings, "pseudo_confidence=80"),
        (SegmentationSettings, "unet.dropout=2"),
        (SegmentationSettings, "unet.strides=[[2, 2, 0]]"),
        (SegmentationSettings, "unet.kernels=[[3, 3, 2]]"),
        (SegmentationSettings, "augmentation.scale=1.0"),
        (SegmentationSettings, "preprocessing.percentiles=[99.5, 0.5]"),
        (SegmentationSettings, "preprocessing.percentiles=[0.5, 101]"),
        (SegmentationSettings, "preprocessing.percentiles=[-1, 99]"),
        (SegmentationSettings, "preprocessing.spacing_mm=[0, 1, 1]"),
        (SegmentationSettings, "preprocessing.spacing_mm=[1, inf, 1]"),
        (SegmentationSettings, "structure_ranges=[[0.7, 0.2]]"),
        (SegmentationSettings, "structure_ranges=[[0.1, 0.9], [5, 7]]"),
        (SegmentationSettings, "classes=[]"),
        (SegmentationSettings, 'classes=["VS", "VS"]'),
        (SegmentationSettings, 'classes=["VS", ""]'),
        (SegmentationSettings, "structure_factors=[[1.0, 0.5]]"),
        (SegmentationSettings, "structure_factors=[[-1.0, 2.0]]"),
        (MeanTeacherSettings, "ema_decay_start=1.1"),
        (MeanTeacherSettings, "ema_decay_end=2"),
        (CutSegSettings, "translation_rate=-1"),
        (TranslationSettings, "betas=[0.5, 1.0]"),
        (TranslationSettings, "nce_temperature=0"),
    ],
)
def test_what_no_training_can_follow_is_refused(kind: type[Training], value: str) -> None:
    with pytest.raises(VsudaError) as refused:
        resolve(kind, preset="small", set_values=[value])
    assert str(refused.value).startswith(f"{value.partition('=')[0]} = ")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SegmentationSettings, "unet.dropout=1"),
        (SegmentationSettings, "steps_per_epoch=0"),
        (MeanTeacherSettings, "ema_decay_end=1"),
        (TranslationSettings, "betas=[0, 0.999]"),
    ],
)
def test_what_lies_on_a_limit_is_kept(kind: type[Training], value: str) -> None:
    assert resolve(kind, preset="small", set_values=[value])
