"""Row statistics of a matrix in one pass, for the callers' checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

# A float32 softmax over 20,000 classes sums to 1 within about 1e-5; anything worse is not a softmax.
ROW_SUM_TOLERANCE = 1e-3


@kernel()
def sums_and_negatives(probs: NDArray[np.floating], sums: NDArray[np.float64], negatives: NDArray[np.int64]) -> None:
    """Set sums [N] to the row sums of probs [N, Z] (NaN propagates), and negatives [N] to counts of entries < 0."""
    for i in range(probs.shape[0]):
        total = 0.0
        below = 0
        for z in range(probs.shape[1]):
            p = np.float64(probs[i, z])
            total += p
            if p < 0.0:
                below += 1
        sums[i] = total
        negatives[i] = below
