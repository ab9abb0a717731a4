"""Label maps of a subject's two ears: a tumour may reach from one into the other's."""

from collections.abc import Sequence

import numpy as np

from vsuda_cli.images.components import (
    PLACE,
    Cleaned,
    Labels,
    Removal,
    Rules,
    clean,
    clean_both_ears,
    find_components,
    select_components,
)
from vsuda_cli.images.cropping import place_back
from vsuda_cli.images.geometry import Affine, voxel_mm3


def clean_ears(
    maps: Sequence[tuple[Labels, Affine]], ears: Sequence[bool], rules: Rules
) -> list[Cleaned]:
    """Clean the label maps of one subject: of one ear each, or of both where `ears` is False.

    maps: label maps (X, Y, Z) with their affines, voxel index to RAS mm. What lies far from an
    ear's cochlea may be the part of the other ear's tumour that this crop shows: what another map
    keeps of its own stays here too.
    """
    alone = [
        (clean if ear else clean_both_ears)(labels, affine, rules)
        for (labels, affine), ear in zip(maps, ears, strict=True)
    ]
    together = list(alone)
    for index, (labels, affine) in enumerate(maps):
        if not ears[index] or not any(gone.rule in PLACE for gone in alone[index][1]):
            continue
        reaching_in = np.zeros_like(labels)
        for other, (_, other_affine) in enumerate(maps):
            if other != index:
                tumour = (alone[other][0] == rules.tumour).astype(np.uint8)
                reaching_in = place_back(
                    tumour, other_affine, labels.shape, affine, into=reaching_in
                )
        if reaching_in.any():
            together[index] = clean(labels, affine, rules, reaching_in)
    return together


def keep_one_tumour(
    maps: Sequence[tuple[Labels, Affine]], rules: Rules
) -> tuple[list[Labels], list[list[Removal]]]:
    """Keep a subject's largest tumour component, and what shows it in the other map too.

    maps: label maps (X, Y, Z) of one subject with their affines, voxel index to RAS mm. A sporadic
    schwannoma is on one side; a large one reaches into the crop of the other ear. Returns the maps,
    and what was removed from each.
    """
    kept = [labels.copy() for labels, _ in maps]
    removed: list[list[Removal]] = [[] for _ in maps]
    found = [
        find_components(labels == rules.tumour, affine, rules.connectivity)
        for labels, affine in maps
    ]
    volumes = [
        components[0].voxels * voxel_mm3(affine) if components else 0.0
        for (_, components), (_, affine) in zip(found, maps, strict=True)
    ]
    chosen = int(np.argmax(volumes))
    numbered, components = found[chosen]
    if not components:
        return kept, removed
    largest = (numbered == components[0].number).astype(np.uint8)
    for index, (labels, affine) in enumerate(maps):
        numbered, components = found[index]
        shown = largest
        if index != chosen:
            shown = place_back(largest, maps[chosen][1], labels.shape, affine)
        same = set(np.unique(numbered[shown > 0]).tolist())
        others = [component for component in components if component.number not in same]
        kept[index][select_components(numbered, others, len(components))] = 0
        for component in others:
            mm3 = component.voxels * voxel_mm3(affine)
            detail = f"the subject's largest has {volumes[chosen]:.1f} mm3"
            structure = rules.classes[rules.tumour - 1]
            removed[index].append(Removal(structure, "side", component.voxels, mm3, detail))
    return kept, removed
