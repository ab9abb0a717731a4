"""Where structures cannot be: too dark or too bright even for half a voxel of them."""

import torch

from vsuda_cli.training.exclusion import excluded

RANGES = ((0.3, 0.7), (0.75, 1.0))


def test_only_what_half_of_a_structure_could_give_is_left() -> None:
    levels = torch.tensor([0.1, 0.2, 0.4, 0.8, 0.9])
    image = levels[:, None, None, None].expand(5, 6, 6, 2)
    found = [[bool(one[3, 3, 0]) for one in excluded(layer[None], RANGES)] for layer in image]
    # Tumours from 0.15 to 0.85, the cochlea from 0.375.
    assert found == [[True, True], [False, True], [False, False], [False, False], [True, False]]


def test_a_thin_structure_stays() -> None:
    # A tube of fluid through bone, as wide as a voxel.
    image = torch.full((1, 9, 9, 3), 0.02)
    image[0, 4, 4] = 0.6
    fluid = ~excluded(image, RANGES)[1]
    assert fluid[4, 4].all() and fluid.sum() == 3


def test_noise_in_one_voxel_excludes_nothing() -> None:
    image = torch.full((1, 9, 9, 3), 0.5)
    image[0, 4, 4, 1] = 0.0
    assert not excluded(image, RANGES).any()
