"""One tumour a subject: of all that the label maps of both ears show, the largest stays."""

from collections.abc import Sequence

import numpy as np

from vsuda_cli.images.components import (
    Affine,
    Labels,
    Removal,
    Rules,
    find_components,
    select_components,
    voxel_mm3,
)
from vsuda_cli.images.cropping import place_back


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
