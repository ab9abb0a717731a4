"""Every hyper-parameter, each literal once, with where it comes from.

Sources: [paper] Li et al., crossMoDA 2021; [cyclegan] Zhu et al. 2017; [cut] Park et al. 2020;
[unet2d5] Wang et al. 2019 and Shapey et al. 2019; [mt] Tarvainen and Valpola 2017; [ours] where
these are silent. A value without a source has that of its class's docstring; otherwise it is
[ours]. Preset `paper` is the defaults below; preset `small` replaces numbers only.
"""

import dataclasses
from typing import Any

CLASSES = ("VS", "cochlea")
# Images with more voxels are translated in windows: 12 GB for the paper's 3D generator [ours].
LARGEST_PASS = 8_000_000

Triple = tuple[float, float, float]
Size = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a volume is brought to the network; stored with the weights."""

    # [paper]; the most common spacing of the target domain, "0.468975" there is a misprint.
    spacing_mm: Triple = (0.46875, 0.46875, 1.5)
    # [ours] intensities go to [0, 1] between these percentiles of the crop.
    percentiles: tuple[float, float] = (0.5, 99.5)


@dataclasses.dataclass(frozen=True)
class UNet:
    """The 2.5D U-Net with attention [unet2d5]."""

    channels: tuple[int, ...] = (16, 32, 48, 64, 80, 96)
    kernels: tuple[Size, ...] = ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    strides: tuple[Size, ...] = ((2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    residual_units: int = 2
    dropout: float = 0.1
    # Weight of the attention maps' supervision, averaged over levels [unet2d5].
    attention_weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes to a training patch [ours]; 0 switches one off."""

    rotation_degrees: float = 10.0
    scale: float = 0.1
    gamma: float = 0.3
    contrast: float = 0.2
    brightness: float = 0.1
    noise: float = 0.05
    bias: float = 0.2
    # Largest in-plane blur, as the sigma of a Gaussian in voxels.
    blur: float = 0.0
    # How often a patch is laid on a labelled voxel, so that small structures are seen.
    foreground: float = 0.67
    # The middle part of the patch, as a share of its extent, that this voxel lies in; 1: anywhere.
    foreground_spread: float = 0.5


@dataclasses.dataclass(frozen=True)
class Training:
    """What every training run has."""

    epochs: int = 200  # [cyclegan]
    # Optimiser steps an epoch; 0: as many as there are training cases.
    steps_per_epoch: int = 0
    batch_size: int = 1  # [paper]
    # Batches whose gradients are accumulated for one step: larger batches in the same memory.
    accumulate: int = 1
    patch_size: Size = (160, 160, 32)
    learning_rate: float = 2e-4  # [cyclegan], [cut]
    # A checkpoint for inference every so many epochs (and the best, and the last).
    checkpoint_every: int = 10
    # Validation every so many epochs.
    validate_every: int = 5
    # Share of the cases kept for validation, by case (both ears together): 25 of 210 [paper].
    validation_fraction: float = 0.12
    # Full state for --resume every so many epochs.
    save_every: int = 1
    # Largest gradient norm; 0: no clipping.
    gradient_clip: float = 0.0
    # bf16 on CUDA; a CPU always calculates in single precision. Those that multiply in bf16 take
    # half to three quarters of the time for a step, but oneDNN's gradients of weights read memory
    # that nothing has written where planes are 2 x 2 (torch 2.13): NaN, or worse, noise.
    mixed_precision: bool = True
    # Convolutions on channels-last tensors, and blocks compiled by torch.compile [ours]: the same
    # results to rounding; tests/benchmarks/training.py measures whether they pay on a machine.
    channels_last: bool = False
    compile_blocks: bool = False
    # On a GPU each step is started as one recorded graph of its kernels [ours].
    cuda_graph: bool = True
    seed: int = 0
    preprocessing: Preprocessing = Preprocessing()


@dataclasses.dataclass(frozen=True)
class TranslationSettings(Training):
    """CycleGAN and CUT; [cyclegan] where no other source is named."""

    method: str = "cyclegan"
    dims: int = 2
    patch_size: Size = (160, 160, 1)  # [ours]
    steps_per_epoch: int = 1000  # [ours]
    # The last share of the epochs brings the learning rate linearly to 0: 100 of 200.
    decay_share: float = 0.5
    betas: tuple[float, float] = (0.5, 0.999)
    base_channels: int = 64
    residual_blocks: int = 9
    discriminator_channels: int = 64
    discriminator_layers: int = 3
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    pool_size: int = 50
    gan_weight: float = 1.0
    nce_layers: tuple[int, ...] = (0, 4, 8, 12, 16)  # [cut]
    nce_patches: int = 256  # [cut]
    nce_temperature: float = 0.07  # [cut]
    nce_width: int = 256  # [cut]
    nce_weight: float = 1.0  # [cut]
    nce_identity: bool = True  # [cut]
    flip_equivariance: bool = False  # [cut], FastCUT
    # Weight of the loss of translate-train --segmenter on pseudo-images [ours].
    guide_weight: float = 1.0
    # Slices of a stack translated at once for it; the rest waits, with activation checkpointing
    # [ours].
    slice_chunk: int = 8
    # Method curve: ranges of the intensities of labels 1, 2, ... in the target, where something is
    # known of them. Structures are drawn at the middles, and the curve keeps to them [ours].
    structure_ranges: tuple[tuple[float, float], ...] = ()

    @property
    def decay_epochs(self) -> int:
        """The number of epochs over which the learning rate falls to 0."""
        return round(self.epochs * self.decay_share)


@dataclasses.dataclass(frozen=True)
class SegmentationSettings(Training):
    """The segmenter's training; mean teacher and CutSeg build on it."""

    classes: tuple[str, ...] = CLASSES
    epochs: int = 300
    learning_rate: float = 5e-4  # [paper]
    weight_decay: float = 1e-4  # [paper]
    # The learning rate falls as (1 - t)^power over the run.
    decay_power: float = 0.9
    # Ranges of a random factor on the intensity of labels 1, 2, ...; none: off (see README). The
    # challenge's third place had (0.5, 2) for the tumour, others (0.5, 1) for the cochlea.
    structure_factors: tuple[tuple[float, float], ...] = ()
    # Contrast randomisation, after SynthSeg (Billot et al. 2023); 0: off (see README). Shares of
    # the labelled images with a random intensity curve, and with random structure intensities.
    curve_share: float = 0.0
    structure_share: float = 0.0
    # The largest part of the way from the curve fitted to --unlabelled crops to a random one.
    curve_distance: float = 1.0
    # Ranges of the intensities of labels 1, 2, ..., where something is known of the contrast to be
    # segmented (fluid is bright in T2); none: (0, 1) each. Curves keep to them too, but in
    # cutseg-train, whose pseudo-images change as it learns.
    structure_ranges: tuple[tuple[float, float], ...] = ()
    # Copies of each labelled crop with a lesion of another subject, where it meets no lesion of the
    # crop's own; 0: off [ours].
    lesion_copies: int = 0
    # Share of the labelled patches mirrored left to right; a crop then may look like either ear.
    mirror_share: float = 0.0
    # Unlabelled crops are background, and teach it, where no labelled crop has a structure within
    # so many mm: crops of one region show the same place of every head; 0: off [ours].
    background_margin_mm: float = 0.0
    # In the target a structure is only where half a voxel of it, within its structure_ranges, could
    # be: pseudo-labels elsewhere are dropped, where none can be is background to learn, and predict
    # finds none there. On real heads (examples/realheads, seeds 2 and 3) VS / cochlea Dice 0.72 /
    # 0.44 without, 0.79 / 0.85 with it [ours].
    exclude_by_intensity: bool = False
    unet: UNet = UNet()
    augmentation: Augmentation = Augmentation()
    # Least probability of a voxel's class for it to count as a pseudo-label [ours].
    pseudo_confidence: float = 0.8
    # Copies of each pseudo-labelled crop without a lesion, with lesions of labelled crops drawn in
    # their place, and as many without; 0: off. Anatomy then goes by its size in labelled crops, not
    # by pseudo_confidence [ours].
    lesion_grafts: int = 0

    @property
    def marks_background(self) -> bool:
        """Whether some of the unlabelled crops is taken for background."""
        return self.background_margin_mm > 0 or self.exclude_by_intensity


@dataclasses.dataclass(frozen=True)
class MeanTeacherSettings(SegmentationSettings):
    """Mean teacher [mt]."""

    epochs: int = 100  # [ours]
    learning_rate: float = 5e-5  # [paper]
    ema_decay_start: float = 0.99
    ema_decay_end: float = 0.999
    consistency_weight: float = 1.0  # [ours]
    # Share of the run [ours] over which the consistency weight rises as exp(-5 (1 - t)^2); 0: full
    # from the start.
    consistency_ramp: float = 0.4
    # The teacher sees the mirrored image, so that both orientations must agree; with mirror_share
    # [ours].
    mirror_consistency: bool = False


@dataclasses.dataclass(frozen=True)
class CutSegSettings(SegmentationSettings):
    """CUT and the segmenter end to end, then fine-tuned on coarse target scans [paper]."""

    epochs: int = 82  # [paper]
    learning_rate: float = 2e-4  # [paper]
    # The generator is trained already; it goes on at this rate, which falls with the segmenter's.
    translation_rate: float = 2e-4  # [paper]
    # Weight of the mean absolute difference to the teacher run's probabilities on real hrT2 [ours].
    # Most voxels are background to both, so the mean is near 0.01 and at weight 1 teaches little:
    # in the demo 10 raised the tumour's Dice from 0.34 to 0.45, and that of all three models fused
    # from 0.41 to 0.46.
    auxiliary_weight: float = 10.0
    # Weight of the segmentation loss, for the segmenter and in the generator's gradient [ours].
    segmentation_weight: float = 1.0
    # Target scans with in-plane spacing above this take part in the fine-tuning [paper].
    fine_tune_above_mm: float = 0.5
    fine_tune_epochs: int = 20  # [ours]
    # Slices of each stack that take part in CUT's own losses in one step [ours].
    gan_slices: int = 4
    # Slices translated at once; the rest of a stack waits, with activation checkpointing [ours].
    slice_chunk: int = 8


# CUT trains 200 + 200 epochs without a pool; FastCUT 150 + 50, and it trades the identity term
# for flips [cut].
METHODS: dict[str, dict[str, Any]] = {
    "cyclegan": {},
    "cut": {"epochs": 400, "pool_size": 0},
    "fastcut": {
        "epochs": 200,
        "decay_share": 0.25,
        "pool_size": 0,
        "nce_weight": 10.0,
        "nce_identity": False,
        "flip_equivariance": True,
    },
    "curve": {},
}
# One intensity curve is found in closed form: there is nothing to repeat [ours].
CURVE: dict[str, Any] = {"epochs": 1, "steps_per_epoch": 1}
# In three dimensions a step is a slab, not a slice: one a case and epoch, as deep as thin scans.
THREE_DIMENSIONAL: dict[str, Any] = {"patch_size": (128, 128, 16), "steps_per_epoch": 0}

# Sizes for tiny phantoms and a CPU. Same networks and objectives, smaller numbers.
_SMALL_PREPROCESSING = {"preprocessing.spacing_mm": (1.0, 1.0, 1.5)}
_SMALL_SEGMENTATION: dict[str, Any] = {
    **_SMALL_PREPROCESSING,
    # The network pads to multiples of 32 x 32 x 8: what is between costs as much as the next.
    "patch_size": (64, 64, 24),
    # One patch at a time adapts far less on tiny phantoms: half of the ears have no tumour.
    "batch_size": 2,
    "unet.channels": (8, 16, 24, 32, 40, 48),
    # So few channels need none, and drawing what is dropped takes a sixth of a step.
    "unet.dropout": 0.0,
    "steps_per_epoch": 16,
    "checkpoint_every": 4,
    "validate_every": 4,
}
_SMALL_TRANSLATION: dict[str, Any] = {
    **_SMALL_PREPROCESSING,
    "patch_size": (48, 48, 1),
    "batch_size": 4,
    "base_channels": 16,
    "residual_blocks": 6,
    "discriminator_channels": 16,
    "nce_patches": 128,
    "epochs": 10,
    "steps_per_epoch": 30,
    "checkpoint_every": 4,
    "validate_every": 4,
}
SMALL: dict[type, dict[str, Any]] = {
    TranslationSettings: _SMALL_TRANSLATION,
    SegmentationSettings: {**_SMALL_SEGMENTATION, "epochs": 16, "learning_rate": 2e-3},
    MeanTeacherSettings: {**_SMALL_SEGMENTATION, "epochs": 3, "learning_rate": 5e-4},
    CutSegSettings: {
        **_SMALL_SEGMENTATION,
        # A whole stack is translated for every patch.
        "batch_size": 1,
        "epochs": 8,
        "fine_tune_epochs": 2,
        "gan_slices": 2,
        # The stack at once: its activations are few.
        "slice_chunk": 24,
        "learning_rate": 1e-3,
    },
}
SMALL_THREE_DIMENSIONAL: dict[str, Any] = {
    "patch_size": (48, 48, 8),
    "epochs": 5,
    "steps_per_epoch": 10,
    "batch_size": 1,
}
