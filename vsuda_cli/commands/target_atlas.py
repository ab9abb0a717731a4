"""The atlas in the target's contrast: a typical unlabelled scan in the atlas' place.

Between contrasts one registration of thin slabs can be off by more than a centimetre; within a
contrast that is rare. So every target scan is registered to the atlas and to the most typical
target scan, and where the latter lies in the atlas is what most of these detours agree on.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.commands.atlas_building import (
    BuiltAtlas,
    both_ears,
    choose,
    gather,
    read_template,
)
from vsuda_cli.errors import VsudaError
from vsuda_cli.images import cropping
from vsuda_cli.images.consensus import consensus
from vsuda_cli.images.geometry import Affine, inverse
from vsuda_cli.images.no_signal import with_no_signal_at_0
from vsuda_cli.images.resampling import resample_to_grid
from vsuda_cli.io.batch import Job
from vsuda_cli.io.cases import CaseFile
from vsuda_cli.io.nifti import load_image
from vsuda_cli.options import WorkerOptions

logger = logging.getLogger(__name__)

# Detours that lie further apart agree on nothing; on real thin slabs it was 5 mm.
LARGEST_SPREAD_MM = 12.0


def build_target(
    images: Sequence[CaseFile], atlas: BuiltAtlas, sample: int, processes: WorkerOptions
) -> tuple[str, NDArray[np.float32]]:
    """Return the most typical target scan's case and its image on the atlas' grid, 0 beyond it.

    Raises VsudaError if fewer than half of the scans can be registered, or if they do not agree.
    """
    chosen = choose(images, sample, processes)
    logger.info("the most typical target case is %s", chosen.case)
    jobs = [Job(image.case, (), (image, atlas.image, chosen)) for image in images]
    found = gather(jobs, detours, processes)
    remedy = "look at the target scans with vsuda check, or leave --target away"
    if 2 * len(found) < len(images):
        problem = f"only {len(found)} of {len(images)} target scans could be registered"
        raise VsudaError(chosen.path, problem, remedy)
    every = [one for both in found for one in both]
    to_target, spread_mm = consensus(every, atlas.region_corners_mm)
    logger.info("its place, found in %d ways, agrees within %.1f mm", len(every), spread_mm)
    if spread_mm > LARGEST_SPREAD_MM:
        raise VsudaError(
            chosen.path, f"its place in the atlas is uncertain by {spread_mm:.0f} mm", remedy
        )
    volume = load_image(chosen.path)
    array, affine = cropping.to_canonical(volume.array, volume.affine)
    array = with_no_signal_at_0(array)
    placed = resample_to_grid(array, affine, atlas.array.shape, to_target @ atlas.affine, order=1)
    return chosen.case, placed


def detours(image: CaseFile, atlas: CaseFile, chosen: CaseFile) -> list[Affine]:
    """Register both ears of a scan to the atlas and to the chosen scan.

    Returns for each ear the way (4x4, RAS mm) from the atlas' right ear over this scan's to the
    right ear of the chosen scan.
    """
    scan = read_template(image)
    backwards, onwards = both_ears(image, scan, atlas), both_ears(image, scan, chosen)
    return [
        onward.to_atlas @ inverse(backward.to_atlas)
        for backward, onward in zip(backwards, onwards, strict=True)
    ]
