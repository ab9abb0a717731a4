"""Time and error of the registration under `crop`, beside ANTs' own affine with its defaults.

Run it by hand: `python tests/benchmarks/registration.py [heads|altered|tilted|set]` (all unless one
is named). It needs the real heads that are kept beside the repository. Openings of the ear canals
are known to about 2 mm there; in the set of thin slabs the cochleae's centres are the landmarks,
and errors are distances from the atlas' own, anatomical differences included. What all cases have
in common is one head's difference from the other, so distances from their mean place are told too.
Wall time is what a user waits, CPU time what remains comparable on a busy machine; both are on one
thread, and libraries are loaded before the clock starts.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from vsuda_cli.commands.atlas_building import build
from vsuda_cli.commands.target_atlas import build_target
from vsuda_cli.errors import VsudaError
from vsuda_cli.images.affine_search import TO_ITK
from vsuda_cli.images.cropping import to_canonical, world_points
from vsuda_cli.images.ears import components
from vsuda_cli.images.geometry import Affine, inverse, transform
from vsuda_cli.images.registration import Template, make_template, register_left, register_right
from vsuda_cli.images.resampling import resample_to_grid
from vsuda_cli.io.cases import labelled_images
from vsuda_cli.io.nifti import load_image, load_label
from vsuda_cli.options import WorkerOptions

SHARED = Path(__file__).parents[3] / "shared"
# Openings of the internal auditory canals, right and left, in voxels of the canonical array.
CANALS = {
    "T1_head_A": np.array([(118.0, 109, 47), (69, 109, 47)]),
    "T2_head_B": np.array([(136.0, 98, 8), (90, 98, 8)]),
}
PAIRS = (("T2_head_B", "T1_head_A"), ("T1_head_A", "T2_head_B"))
COCHLEA = 2
TILTS_DEGREES = (-30, -20, 20, 30)
# The defaults of `atlas`.
SAMPLE, MARGIN_MM = 6, 8.0
PROCESSES = WorkerOptions(workers=2)
Head = tuple[NDArray[np.float32], Affine]
Places = NDArray[np.float64]


def main() -> None:
    """Print the tables asked for."""
    if not SHARED.exists():
        print(f"{SHARED} is not there")
        return
    tables = {
        "heads": compare_heads,
        "altered": alter_heads,
        "tilted": tilt_heads,
        "set": go_through_set,
    }
    for name in sys.argv[1:] or list(tables):
        tables[name]()


def compare_heads() -> None:
    """Whole heads: ours beside ANTs' Affine."""
    heads, canals = _heads()
    # Libraries are loaded, and ANTs' first call made, before anything is measured.
    small = make_template(*heads["T2_head_B"])
    register_right("first", small, small)
    print("scan -> atlas                    wall s   CPU s  right mm  left mm")
    for scan, atlas in PAIRS:
        template = make_template(*heads[atlas])
        head = heads[scan]
        methods: dict[str, Callable[[], list[Affine]]] = {
            "one ear": lambda head=head, to=template: _one(head, to),
            "both": lambda head=head, to=template: _both(make_template(*head), to),
            "ANTs": lambda head=head, to=heads[atlas]: [_ants_affine(head, to)],
        }
        for name, method in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            found = method()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            errors = _errors(found, canals[scan], canals[atlas][0])
            print(
                f"{scan} -> {atlas:10} {name:8} {wall:7.1f} {cpu:7.1f}  {_cells(errors)}",
                flush=True,
            )


def alter_heads() -> None:
    """Heads as they should not be: where the canals are found, or that nothing is."""
    heads, canals = _heads()
    print("scan                       -> atlas      similarity  right mm  left mm")
    for scan, atlas in PAIRS:
        template = make_template(*heads[atlas])
        for name, (head, places) in _altered(heads[scan], canals[scan]).items():
            try:
                right = register_right(scan, make_template(*head), template)
                left = register_left(scan, make_template(*head), template, right)
                found = [right.to_atlas, left.to_atlas]
                cells = (
                    f"{right.similarity:10.3f}  {_cells(_errors(found, places, canals[atlas][0]))}"
                )
            except VsudaError as error:
                cells = f"refused: {error.problem}"
            print(f"{scan:10} {name:16} -> {atlas:10} {cells}", flush=True)


def tilt_heads() -> None:
    """Slabs of heads that lie tilted, in the other head and in an upright slab of that."""
    heads, canals = _heads()
    print("scan      slab  tilt     -> atlas           similarity  right mm  left mm")
    worst: list[float] = []
    for scan, atlas in PAIRS:
        whole = (heads[atlas], canals[atlas])
        for name, (head, places) in {"": whole, " 45 mm": _slab(*whole, 45, "x", 0)}.items():
            template, goal = make_template(*head), places[0]
            for thickness_mm, axis, degrees in itertools.product((36, 60), "xyz", TILTS_DEGREES):
                slab, at = _slab(heads[scan], canals[scan], thickness_mm, axis, degrees)
                told = f"{scan} {thickness_mm} mm {axis} {degrees:3} -> {atlas + name:15}"
                try:
                    right = register_right(scan, make_template(*slab), template)
                    left = register_left(scan, make_template(*slab), template, right)
                except VsudaError as error:
                    print(f"{told} refused: {error.problem}", flush=True)
                    continue
                errors = _errors([right.to_atlas, left.to_atlas], at, goal)
                worst.append(max(errors))
                print(f"{told} {right.similarity:10.3f}  {_cells(errors)}", flush=True)
    print(f"{sum(error > 10 for error in worst)} of {len(worst)} scans over 10 mm")


def go_through_set() -> None:
    """The set of thin slabs, each registered to the atlas of its contrast, as the recipe does."""
    folder = SHARED / "realheads"
    source = labelled_images(folder / "source_training")
    targets = [
        pair
        for part in ("target_training", "target_validation")
        for pair in labelled_images(folder / part, folder / f"{part}_labels")
    ]
    atlas = build(source, SAMPLE, MARGIN_MM, PROCESSES)
    unlabelled = [image for image, _ in targets if image.path.parent.name == "target_training"]
    target_case, placed = build_target(unlabelled, atlas, SAMPLE, PROCESSES)
    goal = _cochleae(next(label for image, label in source if image == atlas.image))[0]
    ways = (
        ("source -> source atlas", source, atlas.array),
        ("target -> source atlas", targets, atlas.array),
        ("target -> target atlas", targets, placed),
    )
    print(f"atlas {atlas.image.case}, of the target {target_case}")
    print("case                     similarity  right mm  left mm")
    for name, pairs, array in ways:
        template = make_template(array, atlas.affine)
        places: list[Places] = []
        for image, label in pairs:
            scan = make_template(*_canonical(image.path))
            right = register_right(image.path, scan, template)
            left = register_left(image.path, scan, template, right)
            found = _found([right.to_atlas, left.to_atlas], _cochleae(label))
            places += found
            errors = _distances(found, goal)
            print(f"{image.case:24} {right.similarity:10.3f}  {_cells(errors)}", flush=True)
        mean = np.mean(places, axis=0)
        print(f"{name}: {_summary(places, goal)}")
        print(f"  their mean place is {np.linalg.norm(mean - goal):.1f} mm from the atlas' own;")
        print(f"  from there: {_summary(places, mean)}")


def _heads() -> tuple[dict[str, Head], dict[str, Places]]:
    heads = {name: _canonical(SHARED / "heads" / f"{name}.nii.gz") for name in CANALS}
    return heads, {name: transform(heads[name][1], CANALS[name]) for name in CANALS}


def _canonical(path: Path) -> Head:
    volume = load_image(path)
    return to_canonical(volume.array, volume.affine)


def _cochleae(path: Path) -> Places:
    """Return the centres of the right and of the left cochlea in mm."""
    label = load_label(path)
    parts = components((label.array == COCHLEA).astype(np.uint8), label.affine)
    middle = world_points(label.array >= 0, label.affine)[:, 0].mean()
    sides = [[p for p in parts if (p[:, 0].mean() > middle) == right] for right in (True, False)]
    return np.stack([np.concatenate(side).mean(axis=0) for side in sides])


def _one(head: Head, atlas: Template) -> list[Affine]:
    return [register_right("scan", make_template(*head), atlas).to_atlas]


def _both(scan: Template, atlas: Template) -> list[Affine]:
    right = register_right("scan", scan, atlas)
    return [right.to_atlas, register_left("scan", scan, atlas, right).to_atlas]


def _altered(head: Head, places: Places) -> dict[str, tuple[Head, Places]]:
    """Return a head stripped, cut, turned and moved, each with where its canals are then."""
    array, affine = head
    altered = {
        "as it is": (head, places),
        "skull-stripped": ((_strip(array, affine), affine), places),
    }
    spacing = float(np.linalg.norm(affine[:3, 2]))
    canal = np.linalg.solve(affine, np.append(places[0], 1.0))[2]
    # The canals lie off the slab's middle, as they may in a real one.
    low = max(0, round(canal - 18 / spacing))
    slab_affine = affine.copy()
    slab_affine[:3, 3] += affine[:3, 2] * low
    slab = np.ascontiguousarray(array[:, :, low : low + round(50 / spacing)])
    altered["50 mm slab"] = ((slab, slab_affine), places)
    middle = transform(affine, (np.array(array.shape) - 1.0)[None] / 2)[0]
    for axis in "xyz":
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler(axis, 25, degrees=True).as_matrix()
        turn[:3, 3] = middle - turn[:3, :3] @ middle
        turned = resample_to_grid(array, turn @ affine, array.shape, affine, order=1)
        altered[f"25 degrees, {axis}"] = ((turned, affine), transform(turn, places))
    shift = np.eye(4)
    shift[:3, 3] = (60, -60, 60)
    altered["60 mm shift"] = ((array, shift @ affine), transform(shift, places))
    noise = np.random.default_rng(0).random(array.shape, dtype=np.float32)
    altered["noise"] = ((noise, affine), places)
    return altered


def _slab(
    head: Head, places: Places, thickness_mm: float, axis: str, degrees: float
) -> tuple[Head, Places]:
    """Return a slab around the canals of a head that lies tilted, and where they are in it."""
    size_mm, spacing = np.array([180, 200, thickness_mm]), np.array([0.6, 0.6, 1.5])
    shape = np.ceil(size_mm / spacing).astype(int).tolist()
    header = np.diag([*spacing, 1.0])
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    centre = transform(header, (np.array(shape) - 1.0)[None] / 2)
    turn[:3, 3] = places.mean(axis=0) - transform(turn, centre)[0]
    array = resample_to_grid(*head, shape, turn @ header, order=1)
    return (array, header), transform(inverse(turn), places)


def _strip(array: NDArray[np.float32], affine: Affine) -> NDArray[np.float32]:
    """Return the brain alone, as threshold, opening and largest part give it."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    smooth = ndimage.gaussian_filter(array, 1 / spacing)
    tissue = smooth > 0.5 * np.percentile(smooth[smooth > np.percentile(smooth, 50)], 50)
    depth = ndimage.distance_transform_edt(tissue, sampling=spacing)
    numbered, count = ndimage.label(depth > 7)
    sizes = ndimage.sum_labels(np.ones_like(numbered), numbered, range(1, count + 1))
    core = numbered == 1 + int(np.argmax(sizes))
    brain = ndimage.distance_transform_edt(~core, sampling=spacing) < 9
    return np.where(ndimage.binary_fill_holes(brain), array, 0).astype(np.float32)


def _errors(found: list[Affine], places: Places, goal: Places) -> list[float]:
    return _distances(_found(found, places), goal)


def _found(found: list[Affine], places: Places) -> list[Places]:
    """Return where each transform puts its place; one transform may be given for two places."""
    return [transform(matrix, place[None])[0] for matrix, place in zip(found, places, strict=False)]


def _distances(places: list[Places], goal: Places) -> list[float]:
    return [float(np.linalg.norm(place - goal)) for place in places]


def _summary(places: list[Places], goal: Places) -> str:
    errors = _distances(places, goal)
    far = sum(error > 6 for error in errors)
    return (
        f"mean {np.mean(errors):.1f} mm, worst {max(errors):.1f} mm, "
        f"{far} of {len(errors)} ears over 6 mm"
    )


def _cells(errors: list[float]) -> str:
    return " ".join(f"{error:8.1f}" for error in errors)


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
