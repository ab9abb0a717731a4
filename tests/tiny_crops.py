"""Crops small enough that every network takes a step in a moment, and the settings for it."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from vsuda_cli.cli import app
from vsuda_cli.io.nifti import save_image, save_label

AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
# One step of the smallest networks that keep the real ones' shape.
TINY_UNET = [
    "unet.channels=[2, 3, 4]",
    "unet.kernels=[[3, 3, 1], [3, 3, 3], [3, 3, 3]]",
    "unet.strides=[[2, 2, 1], [2, 2, 2]]",
    "patch_size=[12, 12, 6]",
]
TINY_GAN = [
    "base_channels=2",
    "residual_blocks=1",
    "discriminator_channels=2",
    "discriminator_layers=1",
    "nce_layers=[0, 4]",
    "nce_patches=8",
    "nce_width=4",
    "patch_size=[12, 12, 1]",
]
ONE_STEP = ["steps_per_epoch=1", "batch_size=1"]


def write_crops(folder: Path, tag: str, subjects: int, *, labelled: bool, dark: bool) -> None:
    """Write the right ear of some subjects: a ball (1) and a dot (2), dark or bright in grey."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in (16, 14, 8)), indexing="ij")
    for subject in range(subjects):
        label = np.zeros(x.shape, dtype=np.uint8)
        label[(x - 6 - subject % 3) ** 2 + (y - 6) ** 2 + (2 * (z - 4)) ** 2 < 16] = 1
        label[12:14, 10:12, 3:5] = 2
        noise = np.random.default_rng(subject).normal(scale=0.05, size=x.shape)
        image = np.array([0.5, 0.1, 0.9] if dark else [0.5, 0.9, 0.2])[label] + noise
        save_image(folder / f"s{subject}_R_{tag}.nii.gz", image * 100, AFFINE)
        if labelled:
            save_label(folder / f"s{subject}_R_Label.nii.gz", label, AFFINE)


def options(*groups: list[str]) -> list[str]:
    """Return `--set` options, small preset and the voxels that the crops have."""
    values = ["preprocessing.spacing_mm=[1.0, 1.0, 1.5]", "validation_fraction=0.34"]
    values += [value for group in groups for value in group]
    return ["--preset", "small", "--epochs", "1", *(f"--set={value}" for value in values)]


def vsuda(*words: object) -> str:
    """Run one command in this process; return what it said, raise what it raised."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output
