"""What is no probability is named."""

import numpy as np
import pytest

from vsuda_cli.io.probabilities import problem_with


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p * 0.9, "sum up to 0.9"),
        (lambda p: np.where(p == p.max(), np.nan, p), "NaN"),
        (lambda p: np.where(p == p.min(), -0.2, p), "negative probability, -0.2"),
        (lambda p: p * 3, "above 1"),
    ],
)
def test_what_is_no_probability_is_named(change, message):
    good = np.random.default_rng(8).dirichlet([1, 1, 1], (4, 3, 2)).astype(np.float32)
    assert problem_with(good) == ""
    assert problem_with(np.rint(good * 255) / np.float32(255)) == ""
    assert message in problem_with(change(good).astype(np.float32))
