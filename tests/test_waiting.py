"""`predict` and `translate-export` give a GPU its work without waiting for it.

Each crop brings one copy from the host, its image; all else is on the device from the first one on.
"""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from no_values import META, NothingFromTheHost
from tiny_runs import OTHER, SEGMENTATION, TRANSLATION, noise_image

from vsuda_cli import config
from vsuda_cli.inference import Loaded, make_segmenter
from vsuda_cli.networks import passes
from vsuda_cli.training import segmenter, translation
from vsuda_cli.translating import make_translator


@pytest.fixture(autouse=True)
def not_a_real_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave away what is done once, with values, and what torch has for real devices alone."""
    for module in (segmenter, translation):
        monkeypatch.setattr(module, "autocast", lambda *_: nullcontext())
    monkeypatch.setattr(
        passes, "_weights", lambda window, device: torch.ones(window, device=device)
    )


@pytest.mark.parametrize("largest_pass", [0, 10**6], ids=["windows", "whole"])
def test_a_second_crop_is_segmented_without_another_copy(largest_pass: int) -> None:
    settings = replace(
        SEGMENTATION, exclude_by_intensity=True, structure_ranges=((0.3, 0.8), (0.7, 1.0))
    )
    members = tuple(
        Loaded(segmenter.build_unet(settings.unet, 3).to(META).eval(), settings, 1, crops=True)
        for _ in range(2)
    )
    found = make_segmenter(members, META, mirror=True, largest_pass=largest_pass)
    prepared = found.prepare(noise_image(), OTHER)
    prepared = replace(prepared, image=prepared.image.to(META))
    found.probabilities(prepared)
    with NothingFromTheHost():
        maps = found.probabilities(prepared)
    assert (maps.device, maps.shape) == (META, (3, *noise_image().shape))


@pytest.mark.parametrize("own", [{"dims": 2}, {"dims": 3, "patch_size": (16, 16, 4)}])
@pytest.mark.parametrize("largest_pass", [1, 10**6], ids=["windows", "whole"])
def test_a_crop_is_translated_without_another_copy(own: dict[str, Any], largest_pass: int) -> None:
    settings: config.TranslationSettings = replace(TRANSLATION, **own)
    network = translation.build_generator(settings).to(META).eval()
    translator = make_translator(network, settings, 1, META, largest_pass)
    prepared = translator.prepare(noise_image(), OTHER)
    prepared = replace(prepared, image=prepared.image.to(META))
    translator.pseudo(prepared)
    with NothingFromTheHost(), torch.no_grad():
        assert translator.pseudo(prepared).device == META


def test_a_copy_would_be_noticed() -> None:
    with pytest.raises(AssertionError), NothingFromTheHost():
        torch.from_numpy(np.ones(3)).to(META)
    with pytest.raises(RuntimeError):
        torch.ones(3, device=META).sum().item()
