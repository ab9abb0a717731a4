"""Runs as training leaves them, with small networks of random weights, made in no time."""

import json

import numpy as np
import torch

from vsuda_cli import config, resolving
from vsuda_cli.io.nifti import save_image
from vsuda_cli.training import checkpoint
from vsuda_cli.training.run import Run
from vsuda_cli.training.segmenter import build_unet
from vsuda_cli.training.translation import build_generator

SPACING_MM = (1.0, 1.0, 1.5)
# Affines of the grid that runs are trained on, and of another one.
SAME = np.diag([*SPACING_MM, 1.0])
OTHER = np.diag([0.8, 1.3, 2.0, 1.0])
PREPROCESSING = config.Preprocessing(spacing_mm=SPACING_MM)
UNET = config.UNet(
    channels=(4, 6, 8), kernels=((3, 3, 1), (3, 3, 3), (3, 3, 3)), strides=((2, 2, 1), (2, 2, 2))
)
SEGMENTATION = config.SegmentationSettings(
    unet=UNET, preprocessing=PREPROCESSING, patch_size=(16, 16, 8)
)
TRANSLATION = config.TranslationSettings(
    preprocessing=PREPROCESSING, base_channels=4, residual_blocks=1, patch_size=(16, 16, 1)
)


def save_run(folder, command, models, settings, epoch=1, best=True, **more):
    """Write one checkpoint of a run; call it again for another epoch."""
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.provenance.write_text(json.dumps({"command": command}))
    metadata = {"command": command, "settings": resolving.to_dict(settings), "epoch": epoch, **more}
    checkpoint.save_weights(run.weights(epoch), models, metadata)
    if best:
        run.best.write_text(json.dumps({"epoch": epoch}))
    return folder


def segmenter_run(folder, seed=0, settings=SEGMENTATION, command="seg-train", **more):
    """Write a run that segments; return its folder."""
    torch.manual_seed(seed)
    network = build_unet(settings.unet, len(settings.classes) + 1)
    return save_run(folder, command, {"segmenter": network}, settings, **more)


def translator_run(folder, seed=0, settings=TRANSLATION, **more):
    """Write a run that translates; return its folder."""
    torch.manual_seed(seed)
    models = {"generator": build_generator(settings)}
    return save_run(folder, "translate-train", models, settings, **{"target_tag": "hrT2", **more})


def noise_image(shape=(20, 18, 9), seed=0):
    """Return blurred noise: an image with something in it everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.random([-(-n // 3) for n in shape])
    fine = np.kron(coarse, np.ones((3, 3, 3)))[: shape[0], : shape[1], : shape[2]]
    return (fine + 0.2 * rng.random(shape)).astype(np.float32) * 100 + 1


def save_images(folder, cases, shape=(20, 18, 9), spacing_mm=SPACING_MM, tag="hrT2"):
    """Write images of blurred noise."""
    for number, case in enumerate(cases):
        affine = np.diag([*spacing_mm, 1.0])
        save_image(folder / f"{case}_{tag}.nii.gz", noise_image(shape, number), affine)
    return folder
