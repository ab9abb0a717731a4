"""A translation run as a function from image to pseudo-image."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_runs import (
    OTHER,
    PREPROCESSING,
    SAME,
    SPACING_MM,
    TRANSLATION,
    noise_image,
    translator_run,
)

from vsuda_cli import config
from vsuda_cli.images.preprocessing import prepare
from vsuda_cli.images.resampling import resample_label
from vsuda_cli.training.translation import translate_volume
from vsuda_cli.translating import load_translator

CPU = torch.device("cpu")


@pytest.mark.parametrize("dims", [2, 3])
def test_a_pseudo_image_is_the_generators_output(tmp_path, dims):
    settings = dataclasses.replace(TRANSLATION, dims=dims, patch_size=(16, 16, 4))
    translator = load_translator(translator_run(tmp_path / "run", settings=settings), "best", CPU)
    image = noise_image()
    found, affine = translator(image, OTHER)
    array, wanted_affine = prepare(image, OTHER, PREPROCESSING)
    volume = torch.from_numpy(array)[None]
    wanted = translate_volume(translator.network, volume, CPU, mixed=True)[0].numpy()
    assert np.array_equal(found, wanted)
    assert np.array_equal(affine, wanted_affine)
    assert 0 <= found.min() < found.max() <= 1
    label = (image > np.median(image)).astype(np.uint8)
    moved, label_affine = translator.prepare_label(label, OTHER)
    assert np.array_equal(moved, resample_label(label, OTHER, SPACING_MM)[0])
    assert np.array_equal(label_affine, affine)
    assert moved.shape == found.shape


def test_only_what_a_generator_takes_at_once_counts(tmp_path):
    image = noise_image((20, 16, 24))
    for dims, most in ((2, 20 * 16 * 8), (3, image.size)):
        settings = dataclasses.replace(TRANSLATION, dims=dims, patch_size=(12, 12, 1))
        folder = translator_run(tmp_path / f"run{dims}", settings=settings)
        whole, one_less, fits = (
            load_translator(folder, "best", CPU, n)(image, SAME)[0]
            for n in (config.LARGEST_PASS, most - 1, most)
        )
        assert np.array_equal(whole, fits)
        assert not np.array_equal(whole, one_less)
        assert one_less.shape == whole.shape


def test_what_only_translates_does_not_load_monai():
    modules = ("translating", "training.cyclegan", "training.cut", "training.engine")
    imports = "import sys, " + ", ".join(f"vsuda_cli.{module}" for module in modules)
    script = f"{imports}; print('monai' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"
