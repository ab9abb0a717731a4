"""Settings that no training can follow, found before one begins."""

import math
from collections.abc import Mapping
from typing import Any

from vsuda_cli.errors import VsudaError

# Settings that count something of which there must be one, those of which there may be none, those
# above 0, and shares.
_COUNTS = frozenset(
    {
        "batch_size",
        "accumulate",
        "patch_size",
        "epochs",
        "checkpoint_every",
        "validate_every",
        "save_every",
        "gan_slices",
        "slice_chunk",
        "base_channels",
        "residual_blocks",
        "discriminator_channels",
        "discriminator_layers",
        "nce_patches",
        "nce_width",
        "unet.channels",
        "unet.kernels",
        "unet.strides",
        "unet.residual_units",
    }
)
_AMOUNTS = frozenset(
    {
        "steps_per_epoch",
        "fine_tune_epochs",
        "seed",
        "translation_rate",
        "gradient_clip",
        "pool_size",
        "lesion_copies",
        "lesion_grafts",
        "background_margin_mm",
        "weight_decay",
        "augmentation.rotation_degrees",
        "augmentation.noise",
        "augmentation.bias",
        "augmentation.blur",
    }
)
_POSITIVE = frozenset({"learning_rate", "nce_temperature"})
_SHARES = frozenset(
    {
        "pseudo_confidence",
        "validation_fraction",
        "curve_share",
        "curve_distance",
        "structure_share",
        "mirror_share",
        "unet.dropout",
        "ema_decay_start",
        "ema_decay_end",
        "decay_share",
        "consistency_ramp",
        "augmentation.foreground",
        "augmentation.foreground_spread",
    }
)


def refuse_senseless(flat: Mapping[str, Any]) -> None:
    """Raise VsudaError for the first setting that no training can follow.

    flat: `{"unet.dropout": 0.2, ...}`, sequences as lists; keys that a kind of training has not are
    not missed.
    """
    for key, value in flat.items():
        if key in _COUNTS | _AMOUNTS:
            least = 1 if key in _COUNTS else 0
            # Not whether one is below: nan is not.
            if not all(number >= least for number in _numbers(value)):
                problem = f"is not {least} or more"
                raise VsudaError(f"{key} = {value}", problem, f"give at least {least}")
        if key in _POSITIVE and not 0 < value < math.inf:
            raise VsudaError(f"{key} = {value}", "is no number above 0", "give one")
        if key in _SHARES and not 0 <= value <= 1:
            raise VsudaError(f"{key} = {value}", "is no share", "give 0 to 1")
    names = flat.get("classes", ["VS"])
    if not names or not all(names) or len(set(names)) < len(names):
        raise VsudaError(f"classes = {names}", "is no list of different names", "give --classes")
    kernels = flat.get("unet.kernels", [])
    if not all(size % 2 for size in _numbers(kernels)):
        raise VsudaError(f"unet.kernels = {kernels}", "hold even sizes", "give odd ones")
    for low, high in flat.get("structure_ranges", ()):
        if not 0 <= low <= high <= 1:
            problem, remedy = "holds no range of intensities", "give [LOW,HIGH] between 0 and 1"
            raise VsudaError(f"structure_ranges = {flat['structure_ranges']}", problem, remedy)
    for low, high in flat.get("structure_factors", ()):
        if not 0 <= low <= high < math.inf:
            problem, remedy = "holds no range of factors", "give [LOW,HIGH] from 0 on"
            raise VsudaError(f"structure_factors = {flat['structure_factors']}", problem, remedy)
    if not all(0 <= beta < 1 for beta in flat.get("betas", ())):
        problem, remedy = "are no two decays of averages", "give two from 0 to below 1"
        raise VsudaError(f"betas = {flat['betas']}", problem, remedy)
    if not 0 <= flat.get("augmentation.scale", 0) < 1:
        problem = "would shrink patches to nothing"
        raise VsudaError(f"augmentation.scale = {flat['augmentation.scale']}", problem, "give 0.1")
    low, high = flat["preprocessing.percentiles"]
    if not 0 <= low < high <= 100:
        problem = "are no two percentiles, the lower one first"
        raise VsudaError(f"preprocessing.percentiles = [{low}, {high}]", problem, "give 0 to 100")
    spacing = flat["preprocessing.spacing_mm"]
    if not 0 < min(spacing) <= max(spacing) < math.inf:
        raise VsudaError(
            f"preprocessing.spacing_mm = {spacing}", "is no spacing", "give mm above 0"
        )


def _numbers(value: Any) -> list[float]:
    """Return a number, or all of nested lists."""
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value]
