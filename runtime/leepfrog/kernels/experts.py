"""MODEL2VEC's sums over filters, for tasks h [T, F] and models m [M, F] in float64.

The sums are over r = h / (h + m) and q = m / (h + m); both are 0 for a filter that is 0 in both h and m.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

Floats = NDArray[np.float64]


@kernel()
def products(tasks: Floats, model: Floats, of_r: Floats, of_q: Floats, mixed: Floats) -> None:
    """Compute sum r r, sum q q and sum r q of one model [F] with each task, [T] each, overwriting the outputs."""
    for t in range(tasks.shape[0]):
        a = b = c = 0.0
        h = tasks[t]
        for j in range(model.shape[0]):
            total = h[j] + model[j]
            inverse = 1.0 / total if total > 0 else 0.0
            r, q = h[j] * inverse, model[j] * inverse
            a += r * r
            b += q * q
            c += r * q
        of_r[t], of_q[t], mixed[t] = a, b, c


@kernel()
def add_slopes(tasks: Floats, model: Floats, weights: Floats, on_r: Floats, on_q: Floats, slopes: Floats) -> None:
    """Add sum_t weights_t r q (on_r_t r - on_q_t q) to slopes [F]; weights, on_r and on_q are [T]."""
    for t in range(tasks.shape[0]):
        h = tasks[t]
        w, u, v = weights[t], on_r[t], on_q[t]
        for j in range(model.shape[0]):
            total = h[j] + model[j]
            inverse = 1.0 / total if total > 0 else 0.0
            r, q = h[j] * inverse, model[j] * inverse
            slopes[j] += w * r * q * (u * r - v * q)
