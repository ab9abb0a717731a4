"""What the segmenter's commands share: names, splits, validation, earlier weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from synthetic_crops import save_crops

from vsuda_cli import config, resolving
from vsuda_cli.commands import segmenting
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import labelled_images
from vsuda_cli.options import TrainingOptions
from vsuda_cli.training import checkpoint
from vsuda_cli.training.segmenter import build_unet

CPU = torch.device("cpu")
SETTINGS = config.SegmentationSettings(
    patch_size=(16, 16, 8),
    validation_fraction=0.34,
    unet=config.UNet(channels=(2, 2, 2, 2, 2, 2)),
    preprocessing=config.Preprocessing(spacing_mm=(1.0, 1.0, 1.5)),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, ("VS", "cochlea")), ("VS", ("VS",)), ("tumour, cochlea", ("tumour", "cochlea"))],
)
def test_class_names(text: str | None, names: tuple[str, ...]) -> None:
    settings = segmenting.resolve_segmenter(config.SegmentationSettings, TrainingOptions(), text)
    assert settings.classes == names


@pytest.mark.parametrize("text", ["", "VS,", "VS,VS"])
def test_empty_and_double_names_are_refused(text: str) -> None:
    with pytest.raises(VsudaError, match="--classes"):
        segmenting.resolve_segmenter(config.SegmentationSettings, TrainingOptions(), text)


def test_a_subject_is_on_one_side_of_the_split(tmp_path: Path) -> None:
    cases = dict.fromkeys(["a_L", "a_R", "b_L", "b_R", "c_L", "c_R"], 1.0)
    save_crops(tmp_path, tmp_path, "hrT2", cases)
    pairs = labelled_images(tmp_path)
    training, kept = segmenting.load_labelled(pairs, [], SETTINGS, CPU)
    assert len(training) == 4
    assert len({item.subject for item in kept}) == 1
    assert not {item.subject for item in training} & {item.subject for item in kept}
    # Held-out cases that are given leave all others to be trained on.
    training, kept = segmenting.load_labelled(pairs[:4], pairs[4:], SETTINGS, CPU)
    assert ([len(training), len(kept)], kept[0].subject) == ([4, 2], "c")


def test_samplers_draw_patches_in_streams_of_their_own(tmp_path: Path) -> None:
    save_crops(tmp_path, tmp_path, "hrT2", {"a_R": 1.0})
    items, _ = segmenting.load_labelled(
        labelled_images(tmp_path), labelled_images(tmp_path), SETTINGS, CPU
    )
    labelled = segmenting.labelled_sampler(items, SETTINGS, CPU).draw()
    again = segmenting.labelled_sampler(items, SETTINGS, CPU).draw()
    other = segmenting.unlabelled_sampler(items, SETTINGS, CPU).draw()
    assert torch.equal(labelled[0], again[0])
    assert not torch.equal(labelled[0], other[0])


def test_weights_of_a_run_are_loaded_where_classes_agree(tmp_path: Path) -> None:
    network = build_unet(SETTINGS.unet, 3)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "best.json").write_text(json.dumps({"epoch": 2}))
    path = tmp_path / "checkpoints" / "epoch-0002.safetensors"
    metadata = {"command": "seg-train", "settings": resolving.to_dict(SETTINGS)}
    checkpoint.save_weights(path, {"segmenter": network}, metadata)
    fresh = build_unet(SETTINGS.unet, 3)
    segmenting.start_from(tmp_path, fresh, SETTINGS)
    pairs = zip(network.state_dict().values(), fresh.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    other = config.SegmentationSettings(classes=("VS",))
    with pytest.raises(VsudaError, match="was trained on the classes"):
        segmenting.start_from(tmp_path, fresh, other)
    coarse = config.SegmentationSettings(preprocessing=config.Preprocessing((2.0, 2.0, 3.0)))
    with pytest.raises(VsudaError, match=r"spacing_mm: .* -> .* give all runs the same --preset"):
        segmenting.start_from(tmp_path, fresh, coarse)
    wide = replace(SETTINGS.unet, channels=tuple(2 * n for n in SETTINGS.unet.channels))
    with pytest.raises(VsudaError, match=r"does not fit the network \(size mismatch") as refused:
        segmenting.start_from(tmp_path, build_unet(wide, 3), SETTINGS)
    assert "\n" not in str(refused.value)
    first = segmenting.weights_digest(tmp_path)
    checkpoint.save_weights(path, {"segmenter": build_unet(SETTINGS.unet, 3)}, metadata)
    assert segmenting.weights_digest(tmp_path) != first
    assert segmenting.weights_digest(None) == ""


def test_a_run_that_does_not_segment_is_no_start(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "epoch-0001.safetensors"
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "best.json").write_text('{"epoch": 1}')
    metadata = {"command": "translate-train", "settings": {}}
    checkpoint.save_weights(path, {"generator": torch.nn.Linear(1, 1)}, metadata)
    with pytest.raises(VsudaError, match="is a run of translate-train, which does not segment"):
        segmenting.start_from(tmp_path, build_unet(SETTINGS.unet, 3), SETTINGS)
