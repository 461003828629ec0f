"""Symmetric TASK2VEC distances between many embeddings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

Floats = NDArray[np.float32]

# Number of filters per block, so that rows of both sides stay in a core's cache, and float32 sums stay short.
STRETCH = 1024


@kernel()
def symmetric_block(rows: Floats, columns: Floats, out: NDArray[np.float64]) -> None:
    """Compute 1 - cos(a / (a + b), b / (a + b)) for all pairs of embeddings; filters that are 0 in both are skipped.

    Args:
        rows: embeddings a, [m, F].
        columns: embeddings b, [k, F].
        out: distances, [m, k], overwritten.
    """
    n_filters = rows.shape[1]
    sums = np.zeros((rows.shape[0], columns.shape[0], 3))
    for start in range(0, n_filters, STRETCH):
        for i in range(rows.shape[0]):
            a = rows[i, start : start + STRETCH]
            for j in range(columns.shape[0]):
                of_a, of_b, mixed = _products(a, columns[j, start : start + STRETCH])
                sums[i, j, 0] += of_a
                sums[i, j, 1] += of_b
                sums[i, j, 2] += mixed
    for i in range(rows.shape[0]):
        for j in range(columns.shape[0]):
            lengths = math.sqrt(sums[i, j, 0]) * math.sqrt(sums[i, j, 1])
            # An all-zero embedding is treated as orthogonal to all others.
            cosine = sums[i, j, 2] / lengths if lengths > 0 else 0.0
            out[i, j] = min(max(1 - cosine, 0.0), 1.0)


@kernel()
def _products(a: Floats, b: Floats) -> tuple[np.float32, np.float32, np.float32]:
    """Return r.r, q.q and r.q with r = a / (a + b) and q = b / (a + b)."""
    of_a = np.float32(0)
    of_b = np.float32(0)
    mixed = np.float32(0)
    for k in range(a.shape[0]):
        total = a[k] + b[k]
        inverse = np.float32(1) / total if total > 0 else np.float32(0)
        r = a[k] * inverse
        q = b[k] * inverse
        of_a += r * r
        of_b += q * q
        mixed += r * q
    return of_a, of_b, mixed
