"""The segmenter that guides `vsuda translate-train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vsuda_cli import config
from vsuda_cli.commands.segmenting import refuse_other_preprocessing

if TYPE_CHECKING:
    import torch

    from vsuda_cli.training.guide import Guide


@dataclass(frozen=True)
class LoadedGuide:
    """A guide, with the classes (background included) and the patch size of its run."""

    judge: "Guide"
    class_count: int
    patch_size: config.Size


def load_guide(
    folder: Path, settings: config.TranslationSettings, device: "torch.device"
) -> LoadedGuide:
    """Load the best weights of a run that segments.

    Raises VsudaError if it is no such run or was trained with other preprocessing.
    """
    from vsuda_cli.inference import load_network
    from vsuda_cli.training.guide import Guide

    loaded = load_network(folder, "best", device)
    refuse_other_preprocessing(folder, loaded.settings, settings)
    judge = Guide(loaded.network, settings, device)
    return LoadedGuide(judge, len(loaded.settings.classes) + 1, loaded.settings.patch_size)
