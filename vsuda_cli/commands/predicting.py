"""What `vsuda predict` does with one image, in three stages: load, compute, save."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsuda_cli.commands.ear_crops import CropSettings, cut_ears
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.cropping import covered_box, place_back
from vsuda_cli.images.geometry import Affine, translation
from vsuda_cli.images.resampling import resample_to_grid
from vsuda_cli.inference import Segmenter, load_run
from vsuda_cli.io.batch import JobResult
from vsuda_cli.io.cases import CaseFile, is_crop
from vsuda_cli.io.nifti import load_image, save_fractions, save_label
from vsuda_cli.io.pipeline import Stages
from vsuda_cli.networks.to_host import ToHost
from vsuda_cli.prepared import Prepared

Shape = tuple[int, int, int]
Outputs = tuple[Path, ...]


@dataclass(frozen=True)
class Recipe:
    """What a process needs to predict: runs and how they are used, without their networks."""

    runs: tuple[Path, ...]
    checkpoint: str
    device: str
    mirror: bool
    largest_pass: int
    crops: CropSettings | None

    def segmenter(self) -> Segmenter:
        """Load the runs; raises VsudaError as `load_run` does."""
        return load_run(
            self.runs[0],
            ensemble=self.runs[1:],
            checkpoint=self.checkpoint,
            device=self.device,
            mirror=self.mirror,
            largest_pass=self.largest_pass,
        )

    def stages(self, segmenter: Segmenter) -> Stages:
        """Return the three stages with the runs loaded."""
        members = zip(self.runs, segmenter.members, strict=True)
        epochs = {str(run): member.epoch for run, member in members}
        return Stages(
            partial(load, segmenter, self.crops),
            partial(compute, segmenter),
            partial(save, epochs),
        )

    def __call__(self) -> Stages:
        """Load the runs and return the stages."""
        return self.stages(self.segmenter())


@dataclass(frozen=True)
class Part:
    """What goes through the network at once: a whole image, or one ear of a scan."""

    prepared: Prepared
    affine: Affine


@dataclass(frozen=True)
class Loaded:
    """An image's grid, and its parts; of a whole scan also how alike it is to the atlas, by ear."""

    shape: Shape
    affine: Affine
    parts: tuple[Part, ...]
    similarities: dict[str, float] | None


@dataclass(frozen=True)
class Computed:
    """One part's labels (X, Y, Z), its probabilities (class, X, Y, Z) if wanted, on their way."""

    label: ToHost
    maps: ToHost | None
    affine: Affine

    def fetched(self) -> "Found":
        """Wait for the results to reach the host."""
        kept = None if self.maps is None else self.maps.arrived().permute(1, 2, 3, 0).numpy()
        return Found(self.label.arrived().numpy(), kept, self.affine)


@dataclass(frozen=True)
class Found:
    """One part's labels (X, Y, Z), its probabilities (X, Y, Z, class) if wanted, its affine."""

    label: NDArray[np.uint8]
    probability: NDArray[np.float32] | None
    affine: Affine


def refuse_scans(
    images: Sequence[CaseFile], segmenter: Segmenter, run: Path, crops: CropSettings | None
) -> None:
    """Raise VsudaError if whole scans meet a run trained on crops without an atlas, or an atlas
    meets a run that was not.
    """
    if crops is not None and not segmenter.crops:
        problem = f"is of no use: {run} was trained on images as they are, not on crops"
        raise VsudaError("--atlas", problem, "leave --atlas and --roi away")
    scans = [image for image in images if not is_crop(image.case)]
    if segmenter.crops and crops is None and scans:
        problem = f"is no crop of an ear (<case>_R or <case>_L), which {run} was trained on"
        raise VsudaError(scans[0].path, problem, "give --atlas and --roi, or run vsuda crop first")


def other_tags(images: Sequence[CaseFile], segmenter: Segmenter, runs: Sequence[Path]) -> list[str]:
    """Return a line for each run that learnt to segment images of another tag than all of these.

    No error: what one contrast teaches may be tried on another.
    """
    tags = sorted({image.tag for image in images})
    return [
        f"{run} learnt to segment {member.tag} images, and these are {', '.join(tags)}"
        for run, member in zip(runs, segmenter.members, strict=True)
        if tags and member.tag is not None and member.tag not in tags
    ]


def load(segmenter: Segmenter, crops: CropSettings | None, image: CaseFile) -> Loaded:
    """Load and preprocess one image; with `crops`, the two ears of a whole scan."""
    volume = load_image(image.path)
    grids = [(volume.array, volume.affine)]
    similarities = None
    if crops is not None and not is_crop(image.case):
        ears = cut_ears(volume, crops)
        grids = [(ear.array, ear.affine) for ear in ears.values()]
        similarities = {side: ear.similarity for side, ear in ears.items()}
    parts = tuple(Part(segmenter.prepare(a, affine, image.path), affine) for a, affine in grids)
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    return Loaded(shape, volume.affine, parts, similarities)


def compute(
    segmenter: Segmenter, loaded: Loaded, outputs: Outputs
) -> tuple[Loaded, tuple[Computed, ...]]:
    """Segment each part, without waiting for a GPU: it can start the next image meanwhile."""
    computed = []
    for part in loaded.parts:
        maps = segmenter.probabilities(part.prepared)
        # Like argmax(dim=0), and on a CPU eight times as fast.
        label = maps.max(dim=0).indices.to(torch.uint8)
        kept = ToHost(maps) if len(outputs) > 1 else None
        computed.append(Computed(ToHost(label), kept, part.affine))
    return loaded, tuple(computed)


def save(
    runs: dict[str, int], computed: tuple[Loaded, tuple[Computed, ...]], outputs: Outputs
) -> JobResult:
    """Write the label map and, if there is a second output, the probabilities, on the image's grid.

    `runs` are the epochs used, by run. The record of a whole scan holds its ears' similarities.
    """
    loaded, parts = computed
    found = [part.fetched() for part in parts]
    label, probability = found[0].label, found[0].probability
    record: dict[str, Any] = {"runs": runs}
    if loaded.similarities is not None:
        label, probability = merge(found, loaded.shape, loaded.affine)
        record["sides"] = {
            side: {"similarity": value} for side, value in loaded.similarities.items()
        }
    if probability is not None:
        save_fractions(outputs[1], probability, loaded.affine)
    save_label(outputs[0], label, loaded.affine)
    return JobResult(outputs, record)


def merge(
    ears: Sequence[Found], shape: Shape, affine: Affine
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Put both ears back on a scan's grid: labels, and probabilities if there are any.

    Outside the crops all is background. Where crops overlap, the earlier one's structures stay,
    as in `vsuda postprocess`; the arg-max of the probabilities is the label everywhere.
    """
    label = np.zeros(shape, dtype=np.uint8)
    probability = None
    if ears[0].probability is not None:
        probability = np.zeros((*shape, ears[0].probability.shape[3]), dtype=np.float32)
        probability[..., 0] = 1
    for ear in ears:
        placed = place_back(ear.label, ear.affine, shape, affine)
        if probability is not None and ear.probability is not None:
            _merge_probability(probability, label, placed, ear.probability, ear.affine, affine)
        label = np.where(label > 0, label, placed)
    return label, probability


def _merge_probability(
    whole: NDArray[np.float32],
    before: NDArray[np.uint8],
    placed: NDArray[np.uint8],
    ear: NDArray[np.float32],
    ear_affine: Affine,
    affine: Affine,
) -> None:
    """Write an ear's probabilities into a scan's; `before` are the earlier ears' labels."""
    ear_shape = ear.shape[:3]
    start, size = covered_box(ear_shape, ear_affine, whole.shape, affine)
    box = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    part, sub_affine = whole[box], affine @ translation(np.asarray(start, dtype=np.float64))
    inside = np.ones(ear_shape, dtype=np.float32)
    reached = resample_to_grid(inside, ear_affine, size, sub_affine, order=0) > 0
    # What an earlier ear's crop holds stays, unless it is background where this one finds more.
    untouched = part[..., 0] == 1
    new = reached & (before[box] == 0) & (untouched | (placed[box] > 0))
    for k in range(whole.shape[3]):
        one = np.ascontiguousarray(ear[..., k])
        part[..., k][new] = resample_to_grid(one, ear_affine, size, sub_affine, order=0)[new]
