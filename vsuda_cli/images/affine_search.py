"""One affine registration by ANTs from a given start, in memory and reproducible."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vsuda_cli.images.geometry import Affine, inverse, spacing_of, translation
from vsuda_cli.images.similarity import Level

# ITK points x to the left and y to the back where NIfTI points them right and to the front.
TO_ITK = np.diag([-1.0, -1.0, 1.0, 1.0])
# Bins of ANTs' Mattes mutual information; its default.
HISTOGRAM_BINS = 32
# Voxels whose intensities are compared in each step; more of them change results by less than the
# optimiser's own tolerance.
MOST_SAMPLES = 40_000
# Of the grid that is optimised on first, and then.
SHRINK_FACTORS = (2, 1)


def refine(
    fixed: Level,
    moving: Level,
    start: Affine,
    iterations: tuple[int, int],
) -> Affine:
    """Return the transform (4x4, fixed world to moving world, RAS mm) that ANTs finds from `start`.

    All twelve parameters are optimised on Mattes mutual information over a regular grid of samples,
    with `iterations` for each of SHRINK_FACTORS. The same inputs give the same numbers: one thread,
    a fixed seed.
    """
    ants = _load_ants()
    # Rotations turn about the world's origin; there, too, lies the best conditioned start.
    to_fixed_middle, to_moving_middle = (
        translation(-fixed.centre_mm),
        translation(-moving.centre_mm),
    )
    fixed_image = _to_ants(ants, fixed, to_fixed_middle)
    moving_image = _to_ants(ants, moving, to_moving_middle)
    centred = to_moving_middle @ start @ inverse(to_fixed_middle)
    with tempfile.TemporaryDirectory(prefix="vsuda-") as folder:
        start_path = str(Path(folder) / "start.mat")
        ants.write_transform(_to_transform(ants, centred), start_path)
        found = ants.registration(
            fixed_image,
            moving_image,
            type_of_transform="Affine",
            initial_transform=[start_path],
            outprefix=str(Path(folder) / "found"),
            aff_metric="mattes",
            aff_sampling=HISTOGRAM_BINS,
            aff_random_sampling_rate=min(1.0, MOST_SAMPLES / fixed.array.size),
            aff_iterations=iterations,
            aff_shrink_factors=SHRINK_FACTORS,
            aff_smoothing_sigmas=tuple(factor - 1 for factor in SHRINK_FACTORS),
        )
        matrix = _from_transform(ants.read_transform(found["fwdtransforms"][0]))
    return inverse(to_moving_middle) @ matrix @ to_fixed_middle


def _load_ants() -> Any:
    # ITK reads its thread count when it loads; several threads add up in a varying order.
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = "1"
    import ants

    return ants


def _to_ants(ants: Any, level: Level, move: Affine) -> Any:
    affine = TO_ITK @ move @ level.affine
    spacing = spacing_of(affine)
    # The nearest orthonormal directions: ITK refuses what rounding has left in a header.
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    return ants.from_numpy(
        level.array,
        origin=affine[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=left @ right,
    )


def _to_transform(ants: Any, matrix: Affine) -> Any:
    itk = TO_ITK @ matrix @ TO_ITK
    return ants.create_ants_transform(
        transform_type="AffineTransform",
        dimension=3,
        matrix=itk[:3, :3],
        offset=itk[:3, 3].tolist(),
    )


def _from_transform(transform: Any) -> Affine:
    parameters = np.asarray(transform.parameters, dtype=np.float64)
    centre = np.asarray(transform.fixed_parameters, dtype=np.float64)
    itk = np.eye(4)
    itk[:3, :3] = parameters[:9].reshape(3, 3)
    itk[:3, 3] = parameters[9:12] + centre - itk[:3, :3] @ centre
    matrix: Affine = TO_ITK @ itk @ TO_ITK
    return matrix
