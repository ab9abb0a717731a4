"""The value of voxels without a signal: padding, masked air, what a skull-stripped head lacks."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# A scan's lowest value above this share of its span is an offset: air and bone are nearly black.
OFFSET = 0.1


def no_signal_value(array: Array) -> float:
    """Return the value that an image (X, Y, Z) has where it has no signal.

    That is 0, but where there are negative values the lowest one, if more voxels have it than 0: in
    scans padded with a negative value, and in those with mean 0.
    """
    lowest = float(array.min(initial=0))
    if lowest < 0 and np.count_nonzero(array == lowest) > np.count_nonzero(array == 0):
        return lowest
    return 0.0


def with_no_signal_at_0(array: Array) -> Array:
    """Return an image that is 0 where it has no signal, and nowhere negative; most are 0 already.

    Only what is negative among the rest is a reason to shift it: with padding far below it,
    interpolated voxels at the border would be far below it, too.
    """
    value = no_signal_value(array)
    if value == 0:
        return array
    empty = array == value
    lowest = array.min(initial=0, where=~empty)
    return np.where(empty, np.float32(0), array - lowest)


def padding_value(array: Array) -> float:
    """Return what an image (X, Y, Z) should have beyond its field of view.

    That is its value without a signal; the lowest value where all lie far above 0, as in a scan
    with an offset. Padded with 0, it would get its whole contrast from the border.
    """
    if array.size:
        lowest, highest = float(array.min()), float(array.max())
        if lowest > OFFSET * (highest - lowest):
            return lowest
    return no_signal_value(array)
