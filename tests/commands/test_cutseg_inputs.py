"""What `cutseg-train` may start from, and which target scans are coarse."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from synthetic_crops import save_crops

from vsuda_cli import config, resolving
from vsuda_cli.commands.cutseg_inputs import coarser_than, load_teacher, translation_settings
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import find_images
from vsuda_cli.training import checkpoint
from vsuda_cli.training.segmenter import build_unet

SETTINGS = config.CutSegSettings(unet=config.UNet(channels=(2, 2, 2, 2, 2, 2)))
CPU = torch.device("cpu")


def a_run(
    folder: Path, command: str, settings: config.Training, models: dict[str, torch.nn.Module]
) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "best.json").write_text(json.dumps({"epoch": 7}))
    metadata = {"command": command, "settings": resolving.to_dict(settings), "epoch": 7}
    path = folder / "checkpoints" / "epoch-0007.safetensors"
    checkpoint.save_weights(path, models, metadata)
    return folder


def a_translation(folder: Path, **changes: object) -> Path:
    settings = resolving.resolve(
        config.TranslationSettings, preset="paper", values={"method": "cut", **changes}
    )
    return a_run(folder, "translate-train", settings, {"generator": torch.nn.Linear(1, 1)})


def test_the_stored_settings_are_those_of_the_run(tmp_path: Path) -> None:
    run = a_translation(tmp_path, base_channels=12)
    found = translation_settings(run, SETTINGS)
    assert (found.method, found.base_channels) == ("cut", 12)


@pytest.mark.parametrize(
    "changes",
    [{"method": "cyclegan"}, {"dims": 3}, {"preprocessing.spacing_mm": (1.0, 1.0, 1.0)}],
)
def test_other_translations_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    run = a_translation(tmp_path, **changes)
    with pytest.raises(VsudaError) as refused:
        translation_settings(run, SETTINGS)
    assert refused.value.where == str(run)


def test_a_teacher_is_a_frozen_network_of_the_same_classes(tmp_path: Path) -> None:
    settings = config.SegmentationSettings(unet=SETTINGS.unet)
    run = a_run(
        tmp_path / "seg", "seg-train", settings, {"segmenter": build_unet(SETTINGS.unet, 3)}
    )
    network = load_teacher(run, SETTINGS, CPU)
    assert network is not None
    assert not network.training
    other = dataclasses.replace(SETTINGS, classes=("VS", "canal"))
    with pytest.raises(VsudaError, match="was trained on classes"):
        load_teacher(run, other, CPU)


def test_without_a_teacher_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_teacher(None, SETTINGS, CPU) is None
    assert "without the auxiliary consistency" in capsys.readouterr().err


def test_the_larger_pixel_side_counts(tmp_path: Path) -> None:
    save_crops(tmp_path, None, "hrT2", {"a_R": 0.4, "b_R": 0.5, "c_R": 0.6})
    images = find_images(tmp_path)
    assert [one.case for one in coarser_than(images, 0.5)] == ["c_R"]
    assert [one.case for one in coarser_than(images, 0.1)] == ["a_R", "b_R", "c_R"]
