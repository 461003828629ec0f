"""Bootstrap kernel: sums over resampled images, for many scores at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

Floats = NDArray[np.float64]


@kernel()
def add_resampled(terms: Floats, starts: NDArray[np.int64], seed: int, out: Floats) -> None:
    """Add to out [B, S] the sums of rows of terms [N, S] resampled with replacement, with stratum sizes kept.

    Stratum k is rows starts[k] to starts[k + 1] - 1. All columns share the draws, so that they can be compared in
    pairs. Replicate b is drawn by SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014) from seed and b alone, so that
    results do not depend on the versions of NumPy and Numba, or on how replicates are distributed. Draws are the high
    bits of a 32 by 32 bit product, with a bias below N / 2^32.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    for b in range(out.shape[0]):
        state = (np.uint64(seed) * np.uint64(0xD1342543DE82EF95)) ^ (np.uint64(b + 1) * np.uint64(0xBF58476D1CE4E5B9))
        for k in range(starts.shape[0] - 1):
            first = starts[k]
            size = np.uint64(starts[k + 1] - first)
            for _ in range(size):
                state += golden
                z = state
                z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                z ^= z >> np.uint64(31)
                row = first + np.int64(((z >> np.uint64(32)) * size) >> np.uint64(32))
                for s in range(terms.shape[1]):
                    out[b, s] += terms[row, s]
