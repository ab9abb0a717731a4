"""What `cutseg-train` may start from, and which target scans are coarse."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from synthetic_crops import save_crops

from vsuda_cli import config, resolving
from vsuda_cli.commands.cutseg_inputs import (
    Parts,
    coarser_than,
    load_teacher,
    translation_settings,
)
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import find_images, labelled_images
from vsuda_cli.training import checkpoint, segmenter
from vsuda_cli.training.cutseg import CutSeg
from vsuda_cli.training.data import Item
from vsuda_cli.training.segmenter import build_unet
from vsuda_cli.training.translation import translate_volume

SETTINGS = config.CutSegSettings(unet=config.UNet(channels=(2, 2, 2, 2, 2, 2)))
TRANSLATION = resolving.resolve(
    config.TranslationSettings,
    preset="paper",
    values={
        "method": "cut",
        "base_channels": 2,
        "residual_blocks": 1,
        "discriminator_channels": 2,
        "discriminator_layers": 1,
        "nce_layers": (0, 4),
        "nce_width": 4,
    },
)
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


def test_a_teacher_is_a_frozen_network_of_the_same_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config.SegmentationSettings(unet=SETTINGS.unet)
    run = a_run(
        tmp_path / "seg", "seg-train", settings, {"segmenter": build_unet(SETTINGS.unet, 3)}
    )
    network = load_teacher(run, SETTINGS, CPU)
    assert network is not None
    assert not network.training
    assert "asked about patches" not in capsys.readouterr().err
    load_teacher(run, dataclasses.replace(SETTINGS, patch_size=(64, 64, 8)), CPU)
    assert "is asked about patches of [64, 64, 8]" in capsys.readouterr().err.replace("\n", " ")
    other = dataclasses.replace(SETTINGS, classes=("VS", "canal"))
    with pytest.raises(VsudaError, match="was trained on the classes"):
        load_teacher(run, other, CPU)


def test_without_a_teacher_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_teacher(None, SETTINGS, CPU) is None
    assert "without the auxiliary consistency" in capsys.readouterr().err


def test_the_larger_pixel_side_counts(tmp_path: Path) -> None:
    save_crops(tmp_path, None, "hrT2", {"a_R": 0.4, "b_R": 0.5, "c_R": 0.6})
    images = find_images(tmp_path)
    assert [one.case for one in coarser_than(images, 0.5)] == ["c_R"]
    assert [one.case for one in coarser_than(images, 0.1)] == ["a_R", "b_R", "c_R"]


def networks(seed: int) -> CutSeg:
    translation = dataclasses.replace(TRANSLATION, seed=seed)
    return CutSeg(dataclasses.replace(SETTINGS, seed=seed), translation, None, CPU)


def parts(folder: Path, init: Path | None = None) -> Parts:
    save_crops(folder / "source", folder / "source", "ceT1", {"a_R": 0.5, "b_R": 0.5})
    labelled = labelled_images(str(folder / "source"))
    return Parts(labelled, [], TRANSLATION, None, init, CPU)


def test_each_stage_starts_where_the_one_before_it_ended(tmp_path: Path) -> None:
    before, main = networks(1), networks(2)
    cut = a_run(tmp_path / "cut", "translate-train", TRANSLATION, before.cut.models_for_inference())
    init = a_run(
        tmp_path / "seg", "cutseg-train", SETTINGS, before.segmentation.models_for_inference()
    )
    run = a_run(tmp_path / "run", "cutseg-train", SETTINGS, main.models_for_inference())
    both, images = parts(tmp_path, init), find_images(tmp_path / "source")
    for start, fine_tuning, wanted in ((cut, False, before), (run, True, main)):
        made = both.make(SETTINGS, images, start, fine_tuning=fine_tuning)
        found = made.objective.models_for_inference()
        for name, model in wanted.models_for_inference().items():
            for key, values in model.state_dict().items():
                assert torch.equal(found[name].state_dict()[key], values), (name, key)


def test_translations_of_held_out_sources_are_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = a_run(
        tmp_path / "cut", "translate-train", TRANSLATION, networks(1).cut.models_for_inference()
    )
    scored: list[tuple[torch.nn.Module, list[Item]]] = []

    def noted(network: torch.nn.Module, items: list[Item], *rest: object) -> dict[str, float]:
        scored.append((network, items))
        return {}

    monkeypatch.setattr(segmenter, "validation_dice", noted)
    both, images = parts(tmp_path), find_images(tmp_path / "source")
    made = both.make(SETTINGS, images, cut, fine_tuning=False)
    made.validate()
    ((network, (shown,)),) = scored
    (item,) = made.held_out
    models = made.objective.models_for_inference()
    assert network is models["segmenter"]
    assert shown.label is item.label
    wanted = translate_volume(models["generator"], item.image, CPU, mixed=True)
    assert torch.equal(shown.image, wanted)
