"""What `vsuda cutseg-train` reads: an earlier translation, a teacher, and its cases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vsuda_cli import config, console, resolving
from vsuda_cli.commands import known_labels, segmenting
from vsuda_cli.commands.training import RunParts
from vsuda_cli.errors import VsudaError
from vsuda_cli.io.cases import CaseFile

if TYPE_CHECKING:
    import torch

    from vsuda_cli.networks.unet2d5 import UNet2d5
    from vsuda_cli.training.journal import Row


def translation_settings(
    folder: Path, settings: config.CutSegSettings
) -> config.TranslationSettings:
    """Return the settings of the translation run to go on with.

    Raises VsudaError unless it is a two-dimensional CUT or FastCUT with the same preprocessing.
    """
    from vsuda_cli.training.checkpoint import load_metadata
    from vsuda_cli.training.run import choose_weights

    weights = choose_weights(folder, "best")[1]
    metadata = load_metadata(weights)
    remedy = "give a run of translate-train --method cut --dims 2"
    if metadata["command"] != "translate-train":
        raise VsudaError(folder, f"is a run of {metadata['command']}", remedy)
    stored = resolving.from_dict(config.TranslationSettings, metadata["settings"], weights)
    if stored.method not in ("cut", "fastcut") or stored.dims != 2:
        raise VsudaError(folder, f"is a {stored.dims}D {stored.method}", remedy)
    segmenting.refuse_other_preprocessing(folder, stored, settings)
    return stored


def load_teacher(
    folder: Path | None, settings: config.CutSegSettings, device: "torch.device"
) -> "UNet2d5 | None":
    """Return the network of the run to agree with, or None, said aloud, without one."""
    from vsuda_cli.inference import load_network

    if folder is None:
        console.say("no --teacher: training without the auxiliary consistency")
        return None
    loaded = load_network(folder, "best", device)
    segmenting.refuse_other_preprocessing(folder, loaded.settings, settings)
    segmenting.refuse_other_classes(folder, loaded.settings, settings)
    if loaded.settings.patch_size != settings.patch_size:
        # A network knows the extent of its own patches: what it finds in others is worse.
        console.say(
            f"{folder} was trained on patches of {list(loaded.settings.patch_size)} and is asked "
            f"about patches of {list(settings.patch_size)}, in which it finds less"
        )
    return loaded.network


def coarser_than(images: Sequence[CaseFile], limit_mm: float) -> list[CaseFile]:
    """Return the images with pixels above a size."""
    from vsuda_cli.images.geometry import pixel_mm
    from vsuda_cli.io.nifti import read_geometry

    return [image for image in images if pixel_mm(read_geometry(image.path).affine) > limit_mm]


@dataclass(frozen=True)
class Parts:
    """What both stages of a run are made from."""

    labelled: segmenting.Labelled
    # Target images with what a model says of them, if anything.
    guesses: segmenting.Labelled
    translation: config.TranslationSettings
    teacher: "UNet2d5 | None"
    init: Path | None
    device: "torch.device"

    def make(
        self,
        stage: config.CutSegSettings,
        images: Sequence[CaseFile],
        start: Path,
        *,
        fine_tuning: bool,
    ) -> RunParts:
        """Load a stage's cases and the best weights of the run it starts from."""
        from vsuda_cli.training import checkpoint
        from vsuda_cli.training.cutseg import CutSeg
        from vsuda_cli.training.run import choose_weights
        from vsuda_cli.training.sampling import Batches
        from vsuda_cli.training.segmenter import validation_dice
        from vsuda_cli.training.translation import translate_volume

        sources, held_out = segmenting.load_labelled(self.labelled, [], stage, self.device)
        unlabelled = [(image, None) for image in images]
        guesses = [guess for guess in self.guesses if guess[0] in images]
        targets = known_labels.load_target(unlabelled, guesses, stage, self.device)
        known = known_labels.known_of_target(targets, sources, guesses, stage)
        targets, grafted, lesions = known
        objective = CutSeg(stage, self.translation, self.teacher, self.device)
        objective.segmentation.lesions = lesions
        models = objective.models_for_inference()
        if not fine_tuning:
            models.pop("segmenter")
        checkpoint.load_weights(choose_weights(start, "best")[1], models)
        if self.init is not None and not fine_tuning:
            segmenting.start_from(self.init, objective.segmentation.network, stage)

        def validate() -> "Row":
            """Score the segmenter on translations of the held-out sources."""
            translated = partial(
                translate_volume,
                objective.cut.generator,
                device=self.device,
                mixed=stage.mixed_precision,
            )
            pseudo = [replace(item, image=translated(item.image)) for item in held_out]
            return validation_dice(objective.segmentation.network, pseudo, stage, self.device)

        samplers = {
            "source": segmenting.labelled_sampler(sources, stage, self.device),
            "target": segmenting.unlabelled_sampler(targets, stage, self.device),
        }
        if grafted:
            samplers["grafted"] = segmenting.unlabelled_sampler(grafted, stage, self.device)
        return RunParts(objective, Batches(samplers), validate, held_out)
