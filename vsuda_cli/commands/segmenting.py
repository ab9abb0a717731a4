"""What the commands that train a segmenter share."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vsuda_cli import config, console, resolving
from vsuda_cli.commands.structures import parse_classes
from vsuda_cli.commands.training import digest, load_items, resolve_settings
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.options import TrainingOptions

if TYPE_CHECKING:
    import torch

    from vsuda_cli.networks.unet2d5 import UNet2d5
    from vsuda_cli.training.contrast_prior import CurvePrior
    from vsuda_cli.training.data import Item
    from vsuda_cli.training.sampling import PatchSampler

Labelled = Sequence[tuple[CaseFile, Path]]
Settings = TypeVar("Settings", bound=config.SegmentationSettings)


def resolve_segmenter(
    kind: type[Settings], options: TrainingOptions, classes: str | None
) -> Settings:
    """Return a segmenter's settings from options and --classes.

    Raises VsudaError for settings that contradict one another.
    """
    names = None if classes is None else list(parse_classes(classes))
    settings = resolve_settings(kind, options, classes=names)
    known, wanted = len(settings.structure_ranges), len(settings.classes)
    factors = len(settings.structure_factors)
    if factors not in (0, wanted):
        problem = f"has {factors} ranges for {wanted} structures"
        remedy = "give [[LOW,HIGH],...], one for each; [1,1] leaves one as it is"
        raise VsudaError("--set structure_factors", problem, remedy)
    if known != wanted and (known or settings.exclude_by_intensity):
        option = "structure_ranges" if known else "exclude_by_intensity"
        problem = f"knows the intensities of {known} of {wanted} structures"
        remedy = "give --set structure_ranges=[[LOW,HIGH],...], one for each"
        raise VsudaError(f"--set {option}", problem, remedy)
    unet = settings.unet
    levels = len(unet.channels)
    if (len(unet.kernels), len(unet.strides)) != (levels, levels - 1):
        problem = f"has {levels} channels, {len(unet.kernels)} kernels, {len(unet.strides)} strides"
        raise VsudaError("--set unet", problem, "give as many kernels, and one stride less")
    return settings


def load_labelled(
    cases: Labelled,
    held_out: Labelled,
    settings: config.SegmentationSettings,
    device: "torch.device",
) -> tuple[list["Item"], list["Item"]]:
    """Return training and validation items: `held_out` if any, else a split by subject."""
    from vsuda_cli.training.data import split

    count = len(settings.classes) + 1
    items = load_items("Loading labelled images", cases, settings.preprocessing, count, device)
    if held_out:
        title = "Loading validation images"
        return items, load_items(title, held_out, settings.preprocessing, count, device)
    training, kept = split(items, settings.validation_fraction, settings.seed)
    subjects = sorted({item.subject for item in kept})
    console.say(f"{len(training)} crops to train on; validation: {', '.join(subjects) or 'none'}")
    return training, kept


def labelled_sampler(
    items: list["Item"], settings: config.SegmentationSettings, device: "torch.device"
) -> "PatchSampler":
    """Return the sampler of labelled patches, also of the settings' copies with others' lesions.

    Only the sampler sees the copies; statistics of the set are taken without them.
    """
    from vsuda_cli.training.lesions import find_lesions, whole_lesions
    from vsuda_cli.training.transplant import transplant_lesions

    if settings.lesion_copies > 0:
        lesions = find_lesions(items, len(settings.classes))
        donors = whole_lesions(items, lesions)
        copies = transplant_lesions(items, donors, lesions, settings.lesion_copies, settings.seed)
        console.say(f"{len(copies)} copies of crops with lesions of other subjects")
        items = items + copies
    return _sampler(items, settings, settings.seed, device)


def unlabelled_sampler(
    items: list["Item"], settings: config.SegmentationSettings, device: "torch.device"
) -> "PatchSampler":
    """Return the sampler of unlabelled patches, with a random stream of its own."""
    return _sampler(items, settings, settings.seed + 1, device)


def _sampler(
    items: list["Item"], settings: config.SegmentationSettings, seed: int, device: "torch.device"
) -> "PatchSampler":
    from vsuda_cli.training.sampling import PatchSampler

    count = settings.batch_size * settings.accumulate
    return PatchSampler(items, settings.patch_size, count, settings.augmentation, seed, device)


def known_contrast(
    labelled: list["Item"],
    unlabelled: list["Item"],
    settings: config.SegmentationSettings,
    device: "torch.device",
) -> "CurvePrior":
    """Return what is known of the contrast to be segmented, and say the curve if there is one."""
    from vsuda_cli.training.contrast_prior import curve_prior

    ranges, distance = settings.structure_ranges, settings.curve_distance
    drawn = settings.structure_share > 0
    prior = curve_prior(labelled, unlabelled, ranges, distance, device, drawn=drawn)
    if prior.around is not None:
        heights = prior.around.tolist()
        console.say(f"contrast curve: {' '.join(f'{height:.2f}' for height in heights)}")
    return prior


def as_expected(
    items: list["Item"],
    prior: "CurvePrior",
    settings: config.SegmentationSettings,
    device: "torch.device",
) -> list["Item"]:
    """Return held-out items in the contrast that is expected: what the network is meant for."""
    from vsuda_cli.training.contrast_prior import expected_contrast
    from vsuda_cli.training.data import label_of

    ranges = settings.structure_ranges if settings.structure_share > 0 else ()
    translation = expected_contrast(prior, ranges, device)
    shown = []
    for item in items:
        image = translation.drawn(item.image[None].to(device), label_of(item).to(device))
        shown.append(replace(item, image=image[0].to(item.image.device)))
    return shown


def weights_to_start_from(
    run_folder: Path, settings: config.SegmentationSettings
) -> tuple[int, Path]:
    """Return the epoch and file of another run's best weights.

    Raises VsudaError if it was trained with other classes or preprocessing, or does not segment.
    """
    from vsuda_cli.inference import segmenter_settings
    from vsuda_cli.training import checkpoint
    from vsuda_cli.training.run import choose_weights

    epoch, weights = choose_weights(run_folder, "best")
    theirs = segmenter_settings(run_folder, weights, checkpoint.load_metadata(weights))
    refuse_other_classes(run_folder, theirs, settings)
    refuse_other_preprocessing(run_folder, theirs, settings)
    return epoch, weights


def start_from(run_folder: Path, network: "UNet2d5", settings: config.SegmentationSettings) -> None:
    """Load the best weights of another run, see above, into a network of its architecture."""
    from vsuda_cli.training import checkpoint

    epoch, weights = weights_to_start_from(run_folder, settings)
    checkpoint.load_weights(weights, {"segmenter": network})
    console.say(f"starting from {run_folder}, epoch {epoch}")


def weights_digest(run_folder: Path | None) -> str:
    """Return the fingerprint of a run's best weights, or nothing without a run."""
    from vsuda_cli.io.fingerprint import fingerprint
    from vsuda_cli.training.run import choose_weights

    if run_folder is None:
        return ""
    return fingerprint([choose_weights(run_folder, "best")[1]])


def fingerprints(
    labelled: Labelled,
    validation: Labelled,
    unlabelled: "Sequence[tuple[CaseFile, None]]",
    guesses: Labelled,
    init: Path | None,
) -> dict[str, str]:
    """Return the fingerprint of each input of a segmenter's run; it reads every file."""
    return {
        "labelled": digest(labelled),
        "validation": digest(validation),
        "unlabelled": digest(unlabelled),
        "pseudo_labels": digest(guesses),
        "init": weights_digest(init),
    }


def refuse_other_classes(
    folder: Path, theirs: config.SegmentationSettings, settings: config.SegmentationSettings
) -> None:
    """Raise VsudaError if a run was trained on other classes than this one will be."""
    if theirs.classes != settings.classes:
        old, new = (",".join(one.classes) for one in (theirs, settings))
        problem = f"was trained on the classes {old}, not {new}"
        raise VsudaError(folder, problem, "give the same --classes")


def refuse_other_preprocessing(
    folder: Path, theirs: config.Training, settings: config.Training
) -> None:
    """Raise VsudaError if a run was trained with other preprocessing than this one will be."""
    old, new = (resolving.to_dict(one.preprocessing) for one in (theirs, settings))
    changes = resolving.differences(old, new)
    if changes:
        problem = f"was trained with other preprocessing (its -> yours: {', '.join(changes)})"
        remedy = "give all runs the same --preset and --set preprocessing.*"
        raise VsudaError(folder, problem, remedy)
