"""Padding and cropping undo each other for every size."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vsuda_cli.networks.padding import (
    crop,
    margins_to_multiple,
    pad_constant,
    pad_reflect,
    pad_replicate,
)

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=3)


def image(shape: list[int]) -> torch.Tensor:
    count = 2 * int(np.prod(shape))
    return torch.arange(1.0, count + 1).reshape(1, 2, *shape)


@st.composite
def image_and_margins(draw: st.DrawFn) -> tuple[torch.Tensor, tuple[tuple[int, int], ...]]:
    shape = draw(SIZES)
    width = st.integers(0, 6)
    return image(shape), tuple((draw(width), draw(width)) for _ in shape)


@settings(max_examples=60, deadline=None)
@given(image_and_margins())
def test_crop_undoes_every_padding(case) -> None:
    x, margins = case
    for pad in (pad_constant, pad_replicate, pad_reflect):
        padded = pad(x, margins)
        wanted = [size + sum(m) for size, m in zip(x.shape[2:], margins, strict=True)]
        assert list(padded.shape[2:]) == wanted
        assert torch.equal(crop(padded, margins), x)


@settings(max_examples=60, deadline=None)
@given(image_and_margins())
def test_values_are_those_of_numpy(case) -> None:
    x, margins = case
    widths = ((0, 0), (0, 0), *margins)
    assert np.array_equal(pad_constant(x, margins).numpy(), np.pad(x.numpy(), widths))
    assert np.array_equal(pad_replicate(x, margins).numpy(), np.pad(x.numpy(), widths, mode="edge"))
    expected = x.numpy()
    for axis, margin in enumerate(margins, start=2):
        alone = [(0, 0)] * x.ndim
        alone[axis] = margin
        # What is too thin to be mirrored is repeated.
        mode = "edge" if max(margin) >= x.shape[axis] else "reflect"
        expected = np.pad(expected, alone, mode=mode)
    assert np.array_equal(pad_reflect(x, margins).numpy(), expected)


@settings(max_examples=100, deadline=None)
@given(SIZES, st.data())
def test_margins_are_the_smallest_and_even(shape, data) -> None:
    multiples = [data.draw(st.integers(1, 8)) for _ in shape]
    margins = margins_to_multiple(shape, multiples)
    for size, multiple, (before, after) in zip(shape, multiples, margins, strict=True):
        padded = size + before + after
        assert padded % multiple == 0
        assert size <= padded < size + multiple
        assert 0 <= after - before <= 1


def test_no_margins_return_the_tensor_itself() -> None:
    x = image([3, 4])
    margins = margins_to_multiple((3, 4), (3, 2))
    assert margins == ((0, 0), (0, 0))
    for function in (pad_constant, pad_replicate, pad_reflect, crop):
        assert function(x, margins) is x
