"""Running means and sums of squared deviations, in float64, by Welford's recurrence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

Floats = NDArray[np.float64]


@kernel(exact_order=True)
def add_rows(rows: NDArray[np.floating], count: int, mean: Floats, deviations: Floats) -> int:
    """Add rows [n, F] to the mean [F] and sum of squared deviations [F] of `count` rows, and return the new count."""
    for i in range(rows.shape[0]):
        count += 1
        for j in range(rows.shape[1]):
            x = np.float64(rows[i, j])
            change = x - mean[j]
            mean[j] += change / count
            deviations[j] += change * (x - mean[j])
    return count
