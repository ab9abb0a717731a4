"""Percentiles that are numpy's to the last bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vsuda_cli.images import percentiles
from vsuda_cli.images.percentiles import tail_percentiles

PAIRS = [(1.0, 99.0), (0.5, 99.5), (0.0, 100.0), (10.0, 90.0), (49.0, 51.0), (99.0, 99.9)]
FINITE = st.floats(-1e6, 1e6, width=32)


@given(arrays.arrays(np.float32, st.integers(1, 700), elements=FINITE), st.sampled_from(PAIRS))
def test_they_are_numpys(values: np.ndarray, pair: tuple[float, float]) -> None:
    assert tail_percentiles(values, pair) == tuple(np.percentile(values, pair))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("seed", range(3))
def test_they_are_numpys_where_the_sample_tells_little(
    pair: tuple[float, float], seed: int
) -> None:
    # Every value that the sample takes is small, or large: the tails have to be sought in all.
    rng = np.random.default_rng(seed)
    values = rng.normal(400, 100, 50_000).astype(np.float32)
    for shift in (-1000, 0, 1000):
        moved = values.copy()
        moved[:: percentiles.STRIDE] += shift
        assert tail_percentiles(moved, pair) == tuple(np.percentile(moved, pair))
        ordered = np.sort(moved)
        assert tail_percentiles(ordered, pair) == tuple(np.percentile(ordered, pair))


def test_few_of_many_values_are_partitioned(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(400, 100, 50_000).astype(np.float32)
    sizes = []
    partition = np.partition

    def noted(given: np.ndarray, places: tuple[int, int]) -> np.ndarray:
        sizes.append(given.size)
        return partition(given, places)

    monkeypatch.setattr(np, "partition", noted)
    tail_percentiles(values, (1, 99))
    assert max(sizes) < 0.05 * values.size
