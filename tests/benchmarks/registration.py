"""Time and error of the registration under `crop`, beside ANTs' own affine with its defaults.

Run it by hand: `python tests/benchmarks/bench_registration.py`. It needs the two real heads that
are kept beside the repository; the openings of their ear canals are known to about 2 mm.
"""

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsuda_cli.images.affine_search import TO_ITK
from vsuda_cli.images.cropping import to_canonical
from vsuda_cli.images.geometry import Affine, transform
from vsuda_cli.images.registration import make_template, register_left, register_right
from vsuda_cli.io.nifti import load_image

HEADS = Path(__file__).parents[3] / "shared" / "heads"
# Openings of the internal auditory canals, right and left, in voxels of the canonical array.
CANALS = {
    "T1_head_A": np.array([(118.0, 109, 47), (69, 109, 47)]),
    "T2_head_B": np.array([(136.0, 98, 8), (90, 98, 8)]),
}
Head = tuple[NDArray[np.float32], Affine]


def main() -> None:
    """Print a table: head, method, seconds for one ear and for both, error at each canal."""
    if not HEADS.exists():
        print(f"{HEADS} is not there")
        return
    heads = {name: _load(name) for name in CANALS}
    canals = {name: transform(heads[name][1], CANALS[name]) for name in CANALS}
    print("scan -> atlas              method       one ear s  both s  right mm  left mm")
    for scan, atlas in (("T2_head_B", "T1_head_A"), ("T1_head_A", "T2_head_B")):
        template = make_template(*heads[atlas])
        began = time.perf_counter()
        moving = make_template(*heads[scan])
        right = register_right(scan, moving, template)
        one = time.perf_counter() - began
        left = register_left(scan, moving, template, right)
        both = time.perf_counter() - began
        errors = [
            _error(found.to_atlas, canals[scan][side], canals[atlas][0])
            for side, found in enumerate((right, left))
        ]
        row = f"{one:12.1f} {both:7.1f} {errors[0]:9.1f} {errors[1]:8.1f}"
        print(f"{scan} -> {atlas:12}  vsuda  {row}")
        began = time.perf_counter()
        matrix = _ants_affine(heads[scan], heads[atlas])
        one = time.perf_counter() - began
        error = _error(matrix, canals[scan][0], canals[atlas][0])
        print(f"{scan} -> {atlas:12}  ANTs   {one:12.1f} {'':7} {error:9.1f}")


def _load(name: str) -> Head:
    volume = load_image(HEADS / f"{name}.nii.gz")
    return to_canonical(volume.array, volume.affine)


def _error(matrix: Affine, place: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(transform(matrix, place[None]) - goal))


def _ants_affine(scan: Head, atlas: Head) -> Affine:
    import ants

    fixed, moving = _to_ants(scan), _to_ants(atlas)
    found = ants.registration(fixed, moving, type_of_transform="Affine")
    result = ants.read_transform(found["fwdtransforms"][0])
    centre = np.asarray(result.fixed_parameters)
    matrix = np.eye(4)
    matrix[:3, :3] = np.asarray(result.parameters[:9]).reshape(3, 3)
    matrix[:3, 3] = np.asarray(result.parameters[9:]) + centre - matrix[:3, :3] @ centre
    return TO_ITK @ matrix @ TO_ITK


def _to_ants(head: Head) -> object:
    import ants

    affine = TO_ITK @ head[1]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    origin = affine[:3, 3].tolist()
    directions = affine[:3, :3] / spacing
    return ants.from_numpy(head[0], origin=origin, spacing=spacing.tolist(), direction=directions)


if __name__ == "__main__":
    # The same single thread for both.
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    main()
