"""Cysts of a tumour: what it encloses or nearly does is filled, what it stands beside is not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vsuda_cli.images.cysts import fill_cysts

AFFINE = np.diag((0.5, 0.5, 1.5, 1.0))


def ball(radius: float = 14.0) -> NDArray[np.uint8]:
    """A disc of label 1 in slices 1 to 3 of five."""
    x, y = np.mgrid[:48, :48] - 24
    labels = np.zeros((48, 48, 5), np.uint8)
    labels[x**2 + y**2 <= radius**2, 1:4] = 1
    return labels


def test_a_hole_of_one_slice_is_filled_though_the_next_one_is_open() -> None:
    labels = ball()
    labels[20:26, 20:26, 3] = 0
    assert np.array_equal(fill_cysts(labels, AFFINE, 1), ball())


@pytest.mark.parametrize(("opening", "filled"), [(2, True), (8, False)])
def test_a_bay_is_filled_if_three_quarters_of_its_border_are_tumour(
    opening: int, filled: bool
) -> None:
    labels = ball()
    # 8 pixels wide, 7 deep, and a channel from there to the outside.
    labels[30:37, 20:28, 2] = 0
    labels[37:, 24 - opening // 2 : 24 + opening // 2, 2] = 0
    found = fill_cysts(labels, AFFINE, 1)
    assert (found[30:36, 20:28, 2] == 1).all() == filled
    assert filled or np.array_equal(found, labels)
    # Whichever way it opens.
    for turns in (1, 2, 3):
        turned = fill_cysts(np.rot90(labels, turns), AFFINE, 1)
        assert np.array_equal(turned, np.rot90(found, turns))


def test_a_wide_bay_and_a_gap_open_at_both_ends_stay() -> None:
    wide = ball(20.0)
    # 10 mm wide: no cyst, but where the tumour bends around something.
    wide[24:, 14:34] = 0
    assert np.array_equal(fill_cysts(wide, AFFINE, 1), wide)
    two = np.zeros((48, 48, 5), np.uint8)
    two[10:20, 10:17, 2], two[24:34, 10:17, 2] = 1, 1
    assert np.array_equal(fill_cysts(two, AFFINE, 1), two)


def test_only_background_is_filled_and_only_in_the_tumour() -> None:
    labels = ball()
    labels[20:26, 20:26, 2] = 0
    labels[22, 22, 2] = 2
    found = fill_cysts(labels, AFFINE, 1)
    assert found[22, 22, 2] == 2
    assert np.count_nonzero(found != labels) == 35
    assert np.array_equal(fill_cysts(labels, AFFINE, 2), labels)


@pytest.mark.parametrize("through", [0, 1, 2])
def test_slices_lie_across_the_largest_spacing(through: int) -> None:
    labels = ball()
    labels[20:26, 20:26, 3] = 0
    order = [1, 2]
    order.insert(through, 0)
    turned = np.moveaxis(labels, 2, 0).transpose(order)
    spacing = np.insert([0.5, 0.5], through, 1.5)
    found = fill_cysts(turned, np.diag((*spacing, 1.0)), 1)
    assert np.array_equal(found, np.moveaxis(ball(), 2, 0).transpose(order))


def test_reach_is_in_mm() -> None:
    bay = ball()
    bay[30:37, 20:28, 2], bay[37:, 23:25, 2] = 0, 0
    assert (fill_cysts(bay, AFFINE, 1)[30:36, 20:28, 2] == 1).all()
    # Its channel, two pixels wide, is no longer narrow.
    coarse = fill_cysts(bay, np.diag((4.0, 4.0, 9.0, 1.0)), 1)
    assert np.array_equal(coarse, bay)


def test_nothing_is_found_in_nothing_and_tumours_at_the_border_are_filled() -> None:
    nothing = np.zeros((8, 8, 3), np.uint8)
    assert not fill_cysts(nothing, AFFINE, 1).any()
    whole = np.ones((8, 8, 3), np.uint8)
    whole[3, 3, 1] = 0
    assert fill_cysts(whole, AFFINE, 1).all()
