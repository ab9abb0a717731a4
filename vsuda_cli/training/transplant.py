"""More of a rare lesion: crops without one get the like of other subjects'."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from vsuda_cli.images.pseudo_labels import IGNORED
from vsuda_cli.training.data import Item, label_of
from vsuda_cli.training.lesions import Lesion, anatomy_centre, is_one_of, place_of
from vsuda_cli.training.varied_lesions import varied


def transplant_lesions(
    hosts: Sequence[Item], donors: Sequence[Lesion], lesions: Sequence[int], copies: int, seed: int
) -> list[Item]:
    """Return new items: each host where a lesion has room `copies` times, with other subjects'.

    lesions: the labels that are. A donor's lesion, varied, is put where it lies from the anatomy's
    centre in its own crop, with its own intensities; it covers no other structure, and where the
    host has a lesion already it has no room. Donors and variations are drawn by `seed`.
    """
    rng = np.random.default_rng(seed)
    made: list[Item] = []
    for host in hosts:
        centre = anatomy_centre(label_of(host), lesions)
        mine: list[Item] = []
        for number in rng.permutation(len(donors)):
            if len(mine) == copies:
                break
            donor = donors[number]
            if donor.item.subject == host.subject:
                continue
            copy = _with_lesion(host, centre, varied(donor, lesions, rng), lesions)
            if copy is not None:
                mine.append(copy)
        made += mine
    return made


def _with_lesion(host: Item, centre: Tensor, donor: Lesion, lesions: Sequence[int]) -> Item | None:
    """Return the host, its anatomy's centre here, with a lesion, or None where it has no room."""
    own, device = label_of(host), host.image.device
    places, fits = place_of(donor, centre, own)
    x, y, z = places.T
    if len(x) == 0 or is_one_of(own[x, y, z], lesions).any():
        return None
    free = is_one_of(own[x, y, z], [0, IGNORED])
    to, where = (x[free], y[free], z[free]), tuple(donor.voxels.to(device)[fits][free].T)
    image, label = host.image.clone(), own.clone()
    image[0][to] = donor.item.image.to(device)[0][where]
    label[to] = label_of(donor.item).to(device)[where]
    return replace(host, image=image, label=label)
