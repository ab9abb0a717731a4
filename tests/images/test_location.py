"""Where labelled crops have structures, and what that makes of an unlabelled crop."""

import numpy as np
import pytest

from vsuda_cli.images.location import outside_region, structure_region

SPACING = (1.0, 1.0, 2.0)


def one_voxel(shape: tuple[int, int, int], offset: tuple[int, int, int]) -> np.ndarray:
    """Return a label map of odd size with one voxel, `offset` from its middle."""
    label = np.zeros(shape, dtype=np.uint8)
    label[tuple(n // 2 + o for n, o in zip(shape, offset, strict=True))] = 2
    return label


@pytest.mark.parametrize("margin", [0, 1, 2.5, 4])
def test_the_region_is_what_lies_within_the_margin_of_any_structure(margin: float) -> None:
    offsets = [(0, 0, 0), (3, -2, 1)]
    labels = [one_voxel((9, 11, 5), offsets[0]), one_voxel((13, 7, 7), offsets[1])]
    region = structure_region(labels, SPACING, margin)
    middle = np.array(region.shape) // 2
    for index in np.ndindex(region.shape):
        distances = [
            np.linalg.norm((np.array(index) - middle - offset) * SPACING) for offset in offsets
        ]
        assert region[index] == (min(distances) <= margin + 1e-9)


def test_a_crop_lies_on_the_region_by_its_middle_whatever_its_size() -> None:
    region = structure_region([one_voxel((5, 5, 3), (0, 0, 0))], SPACING, 1.0)
    for shape in ((3, 3, 1), (15, 21, 9)):
        outside = outside_region(region, shape)
        assert outside.shape == shape
        middle = tuple(n // 2 for n in shape)
        assert not outside[middle] and (~outside).sum() == 5


def test_without_any_structure_all_is_outside() -> None:
    region = structure_region([np.zeros((3, 4, 5), dtype=np.uint8)], SPACING, 5.0)
    assert not region.any()
    assert outside_region(region, (4, 4, 4)).all()
