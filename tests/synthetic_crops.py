"""Tiny made-up crops of both contrasts, and settings that train one step of a tiny network."""

from pathlib import Path

import numpy as np

from vsuda_cli.io.nifti import save_image, save_label

SHAPE = (24, 26, 12)
# Grey of background, tumour and cochlea.
GREYS = {"ceT1": (300.0, 900.0, 500.0), "hrT2": (500.0, 400.0, 900.0)}
ONE_STEP = (
    "--preset small --epochs 1 --device cpu --set steps_per_epoch=1 --set batch_size=1 "
    "--set validation_fraction=0.34 "
)
SEGMENTER = ONE_STEP + "--set patch_size=[24,24,8] --set unet.channels=[2,4,4,4,4,4]"
TRANSLATOR = ONE_STEP + (
    "--set patch_size=[24,24,1] --set base_channels=4 --set residual_blocks=1 "
    "--set discriminator_channels=4 --set discriminator_layers=1 --set nce_layers=[0,4] "
    "--set nce_patches=8 --set nce_width=8"
)


def save_crops(images: Path, labels: Path | None, tag: str, cases: dict[str, float]) -> None:
    """Save a crop for each case, with its pixel size in mm; label maps where there is a folder."""
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[8:14, 8:15, 4:8] = 1
    label[16:19, 14:17, 5:7] = 2
    for number, (case, pixel_mm) in enumerate(cases.items()):
        noise = np.random.default_rng(number).normal(0, 20, SHAPE)
        affine = np.diag([pixel_mm, pixel_mm, 1.5, 1.0])
        grey = np.abs(np.array(GREYS[tag])[label] + noise)
        save_image(images / f"{case}_{tag}.nii.gz", grey, affine)
        if labels is not None:
            save_label(labels / f"{case}_Label.nii.gz", label, affine)
