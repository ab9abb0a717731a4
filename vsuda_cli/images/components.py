"""Cleaning label maps by connected components, and by where tumour and cochlea lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from vsuda_cli.images.cropping import world_points
from vsuda_cli.images.geometry import Affine, transform, translation, voxel_mm3

# [paper] 15 voxels along z, at the training spacing of 1.5 mm.
MAX_ABOVE_MM = 22.5
# The rules about where a tumour lies, as removals name them.
PLACE = ("height", "distance")
# Neighbours of a voxel by connectivity: faces; and edges; and corners.
CONNECTIVITY = {6: 1, 18: 2, 26: 3}
# A field of view wider than this from left to right holds both inner ears, about 85 mm apart.
BOTH_EARS_MM = 120.0

Labels = NDArray[np.uint8]
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Rules:
    """What is removed; labels 1, 2, ... are `classes`.

    `max_above_mm` None: no rule of height; `max_distance_mm` None: none of distance. `tumour` and
    `anchor` are the labels that these are about.
    """

    classes: tuple[str, ...]
    tumour: int = 1
    anchor: int = 2
    max_above_mm: float | None = MAX_ABOVE_MM
    max_distance_mm: float | None = None
    keep_largest: bool = True
    smallest_mm3: float = 0.0
    fill_holes: bool = False
    connectivity: int = 26


@dataclass(frozen=True)
class Removal:
    """A component taken away (or, by the rules `holes` and `cysts`, filled): where and why."""

    structure: str
    rule: str
    voxels: int
    mm3: float
    detail: str


# The cleaned map, what was removed, and remarks.
Cleaned = tuple[Labels, list[Removal], list[str]]


@dataclass(frozen=True)
class Component:
    """A connected component: its number in the map of components, size and centre in the world."""

    number: int
    voxels: int
    centre_mm: NDArray[np.float64]


def clean(
    labels: Labels, affine: Affine, rules: Rules, reaching_in: Labels | None = None
) -> Cleaned:
    """Apply the rules to one ear's label map (X, Y, Z); `affine` is voxel index to RAS mm.

    In this order: tumour components whose centre lies more than `max_above_mm` above the centre
    of the largest anchor component are dropped (up is the world's z, however the array is
    stored), then those nowhere nearer to it than `max_distance_mm`; components below
    `smallest_mm3`; all but each class's largest component; holes are filled. Returns the cleaned
    map, what was removed, and remarks.

    `reaching_in` (X, Y, Z) shows the other ear's tumour: components that it meets are that one's,
    and stay however far they are from this ear's anchor.
    """

    def whole(part: Labels, part_affine: Affine, box: Box) -> Cleaned:
        everywhere = np.ones(part.shape, dtype=np.bool_)
        foreign = None if reaching_in is None else reaching_in[box] > 0
        return _clean_part(part, everywhere, part_affine, rules, "", foreign)

    return _in_box(labels, affine, whole)


def clean_both_ears(labels: Labels, affine: Affine, rules: Rules) -> Cleaned:
    """Apply the rules to each half of a whole scan's label map, as `clean` does to one ear.

    The halves meet in the plane of the world's x through the middle of the field of view; a
    component belongs to the half that its centre lies in.
    """
    middle_x = float(transform(affine, (np.array([labels.shape]) - 1) / 2)[0, 0])

    def halves(part: Labels, part_affine: Affine, _: Box) -> Cleaned:
        return _clean_halves(part, part_affine, rules, middle_x)

    return _in_box(labels, affine, halves)


def _in_box(
    labels: Labels, affine: Affine, work: Callable[[Labels, Affine, Box], Cleaned]
) -> Cleaned:
    """Let `work` see the labels' box alone, with its affine: structures are a small part."""
    result = np.zeros_like(labels)
    boxes = ndimage.find_objects((labels > 0).astype(np.uint8))
    if not boxes:
        return result, [], []
    box = boxes[0]
    start = np.array([edge.start for edge in box], dtype=np.float64)
    cleaned, removed, remarks = work(labels[box], affine @ translation(start), box)
    result[box] = cleaned
    return result, removed, remarks


def _clean_halves(labels: Labels, affine: Affine, rules: Rules, middle_x: float) -> Cleaned:
    left = np.zeros(labels.shape, dtype=np.bool_)
    for value in range(1, len(rules.classes) + 1):
        numbered, found = find_components(labels == value, affine, rules.connectivity)
        left |= select_components(
            numbered, [c for c in found if c.centre_mm[0] < middle_x], len(found)
        )
    halves = {"left": left, "right": (labels > 0) & ~left}
    result = np.zeros_like(labels)
    removed: list[Removal] = []
    remarks: list[str] = []
    for side, part in halves.items():
        cleaned, gone, said = _clean_part(labels, part, affine, rules, f"{side}: ")
        result = np.where(cleaned > 0, cleaned, result)
        removed += gone
        remarks += said
    return result, removed, remarks


def holds_both_ears(shape: Sequence[int], affine: Affine) -> bool:
    """Tell by the field of view's extent from left to right whether it holds both inner ears."""
    return float(np.abs(affine[0, :3]) @ np.asarray(shape)) > BOTH_EARS_MM


def find_components(
    mask: NDArray[np.bool_], affine: Affine, connectivity: int
) -> tuple[NDArray[np.int32], list[Component]]:
    """Return the map of numbered components (0 outside) and the components, largest first.

    Of equally large components the one found first in the array's order comes first.
    """
    structure = ndimage.generate_binary_structure(3, CONNECTIVITY[connectivity])
    numbered = np.zeros(mask.shape, dtype=np.int32)
    box = ndimage.find_objects(mask.astype(np.uint8))
    if not box:
        return numbered, []
    part, _ = ndimage.label(mask[box[0]], structure=structure)
    numbered[box[0]] = part
    # Of a box that specks span, the voxels in components are a small part.
    places = np.nonzero(part)
    numbers = part[places]
    sizes = np.bincount(numbers)
    sums = [np.bincount(numbers, weights=index) for index in places]
    start = [edge.start for edge in box[0]]
    centres = np.stack(sums, axis=1)[1:] / sizes[1:, None] + start
    found = [
        Component(n, int(sizes[n]), centre)
        for n, centre in enumerate(transform(affine, centres), start=1)
    ]
    return numbered, sorted(found, key=lambda component: -component.voxels)


def select_components(
    numbered: NDArray[np.int32], wanted: Sequence[Component], count: int
) -> NDArray[np.bool_]:
    """Return the mask of the wanted ones among `count` components."""
    table = np.zeros(count + 1, dtype=np.bool_)
    table[[component.number for component in wanted]] = True
    chosen: NDArray[np.bool_] = table[numbered]
    return chosen


def _clean_part(
    labels: Labels,
    part: NDArray[np.bool_],
    affine: Affine,
    rules: Rules,
    where: str,
    foreign: NDArray[np.bool_] | None = None,
) -> Cleaned:
    """Apply the rules to the labels inside `part`; what is outside is 0 in the result.

    Tumour components that meet `foreign` stay where the rules of place would drop them, and are
    not this ear's largest either.
    """
    result = np.where(part, labels, 0).astype(np.uint8)
    removed: list[Removal] = []
    remarks: list[str] = []
    unit_mm3 = voxel_mm3(affine)
    found_anchor = _find_anchor(result, affine, rules)
    for rule, limit in zip(PLACE, (rules.max_above_mm, rules.max_distance_mm), strict=True):
        if limit is not None and found_anchor is None and (result == rules.tumour).any():
            anchor = rules.classes[rules.anchor - 1]
            remarks.append(f"{where}no {anchor}, the rule of {rule} is skipped")
    for value, structure in enumerate(rules.classes, start=1):
        numbered, found = find_components(result == value, affine, rules.connectivity)
        distances = None
        if value == rules.tumour and rules.max_distance_mm is not None and found_anchor is not None:
            distances = _distances_mm(numbered, len(found), found_anchor, affine)
        met = set() if foreign is None else set(np.unique(numbered[foreign]).tolist())
        kept: list[Component] = []
        guests: list[Component] = []
        for component in found:
            mm3 = component.voxels * unit_mm3
            misplaced = None
            if value == rules.tumour and found_anchor is not None:
                misplaced = _misplaced(component, distances, found_anchor, rules)
            if misplaced is not None and component.number in met:
                guests.append(component)
                continue
            if misplaced is not None:
                rule, detail = misplaced
            elif mm3 < rules.smallest_mm3:
                rule, detail = "smallest", f"below {rules.smallest_mm3:g} mm3"
            elif rules.keep_largest and kept:
                rule, detail = "largest", f"the largest has {kept[0].voxels} voxels"
            else:
                kept.append(component)
                continue
            removed.append(Removal(structure, rule, component.voxels, mm3, where + detail))
        result[(result == value) & ~select_components(numbered, kept + guests, len(found))] = 0
    if rules.fill_holes:
        removed += _fill_holes(result, rules, unit_mm3, where)
    return result, removed, remarks


def _fill_holes(labels: Labels, rules: Rules, unit_mm3: float, where: str) -> list[Removal]:
    """Give the background that a structure encloses to it, in place; return what was filled."""
    filled = []
    for value, structure in enumerate(rules.classes, start=1):
        holes = ndimage.binary_fill_holes(labels == value) & (labels == 0)
        count = int(np.count_nonzero(holes))
        if count:
            labels[holes] = value
            mm3 = count * unit_mm3
            filled.append(Removal(structure, "holes", count, mm3, f"{where}filled"))
    return filled


@dataclass(frozen=True)
class _Anchor:
    """The largest anchor component: its centre's height, and its voxels' mask."""

    z_mm: float
    mask: NDArray[np.bool_]


def _find_anchor(labels: Labels, affine: Affine, rules: Rules) -> _Anchor | None:
    if rules.max_above_mm is None and rules.max_distance_mm is None:
        return None
    numbered, found = find_components(labels == rules.anchor, affine, rules.connectivity)
    if not found:
        return None
    return _Anchor(float(found[0].centre_mm[2]), numbered == found[0].number)


def _distances_mm(
    numbered: NDArray[np.int32], count: int, anchor: _Anchor, affine: Affine
) -> NDArray[np.float64]:
    """Return how near each of `count` numbered components comes to the anchor, by its number."""
    tree = cKDTree(world_points(anchor.mask, affine))
    voxels = numbered > 0
    nearest = np.full(count + 1, np.inf)
    np.minimum.at(nearest, numbered[voxels], tree.query(world_points(voxels, affine))[0])
    return nearest


def _misplaced(
    component: Component, distances: NDArray[np.float64] | None, anchor: _Anchor, rules: Rules
) -> tuple[str, str] | None:
    """Return the rule that a tumour component breaks by its place, and how; None if it does not."""
    name = rules.classes[rules.anchor - 1]
    above = float(component.centre_mm[2]) - anchor.z_mm
    if rules.max_above_mm is not None and above > rules.max_above_mm:
        return "height", f"{above:.1f} mm above the {name}"
    if rules.max_distance_mm is not None and distances is not None:
        distance = float(distances[component.number])
        if distance > rules.max_distance_mm:
            return "distance", f"{distance:.1f} mm from the {name}"
    return None
