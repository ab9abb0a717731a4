"""What makes an array of numbers no class probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Stored in 8 bits, K probabilities miss the sum of 1 by up to K / 2 / 255; this allows five.
SUM_TOLERANCE = 0.01


def problem_with(probabilities: NDArray[Any]) -> str:
    """Return what makes an array (X, Y, Z, class) no probabilities, or an empty string."""
    if not np.isfinite(probabilities).all():
        return f"holds {np.count_nonzero(~np.isfinite(probabilities))} NaN or infinite values"
    low, high = float(probabilities.min()), float(probabilities.max())
    if low < 0:
        return f"holds a negative probability, {low:.4g}"
    if high > 1 + SUM_TOLERANCE:
        return f"holds a probability above 1, {high:.4g}"
    sums = probabilities.sum(axis=-1)
    worst = float(sums.flat[int(np.abs(sums - 1).argmax())])
    if abs(worst - 1) > SUM_TOLERANCE:
        return f"holds probabilities that sum up to {worst:.4g} instead of 1"
    return ""
