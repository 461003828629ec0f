"""Kernels of LEEP. Shapes: probs [N, Z] float32 or float64, labels [N] int64 in 0..C-1, joint [C, Z] float64.

`joint` is unnormalized (the sum of probabilities, not their mean), so that shards can be added. `joint_low` contains
the rounding errors of `joint`: leave-one-out LEEP subtracts a sample's own mass again, and if that sample contributes
nearly all of it, only the exact sum survives the subtraction.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.jit import kernel

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@kernel(exact_order=True)
def add_joint(probs: NDArray[np.floating], labels: Labels, joint: Floats, joint_low: Floats) -> None:
    """Add probs [N, Z] to the rows labels [N] of joint + joint_low [C, Z], by Knuth's error-free TwoSum."""
    for i in range(probs.shape[0]):
        total = joint[labels[i]]
        low = joint_low[labels[i]]
        for z in range(probs.shape[1]):
            p = np.float64(probs[i, z])
            a = total[z]
            s = a + p
            p_part = s - a
            low[z] += (a - (s - p_part)) + (p - p_part)
            total[z] = s


@kernel(exact_order=True)
def merge(total: Floats, low: Floats, other: Floats, other_low: Floats) -> None:
    """Add other + other_low [K] to total + low [K], error-free in the leading parts."""
    for k in range(total.shape[0]):
        a = total[k]
        b = other[k]
        s = a + b
        b_part = s - a
        low[k] += ((a - (s - b_part)) + (b - b_part)) + other_low[k]
        total[k] = s


@kernel()
def loo_likelihood(
    probs: NDArray[np.floating],
    labels: Labels,
    joint: Floats,
    joint_low: Floats,
    mass: Floats,
    mass_low: Floats,
    out: Floats,
) -> None:
    """Set out [N] to sum_z p * (joint[y, z] - p) / (mass[z] - p), p = probs[i, z], over the z where both are positive.

    mass + mass_low [Z] is the sum of joint + joint_low over classes. The ratio is at most 1 in exact arithmetic, and is
    clipped to 1.
    """
    for i in range(probs.shape[0]):
        row = joint[labels[i]]
        row_low = joint_low[labels[i]]
        likelihood = 0.0
        for z in range(probs.shape[1]):
            p = np.float64(probs[i, z])
            left = (row[z] - p) + row_low[z]
            all_left = (mass[z] - p) + mass_low[z]
            if left > 0.0 and all_left > 0.0:
                likelihood += p * min(left / all_left, 1.0)
        out[i] = likelihood


@kernel()
def add_demand(probs: NDArray[np.floating], labels: Labels, terms: Floats, demand: Floats) -> None:
    """Add probs[i] / exp(terms[i]) to row labels[i] of demand [C, Z]."""
    for i in range(probs.shape[0]):
        row = demand[labels[i]]
        share = math.exp(-terms[i])
        for z in range(probs.shape[1]):
            row[z] += share * probs[i, z]


@kernel()
def add_weighted(probs: NDArray[np.floating], labels: Labels, weights: Floats, out: Floats) -> None:
    """Add sum_z weights[labels[i], z] * probs[i, z] to out [N]."""
    for i in range(probs.shape[0]):
        row = weights[labels[i]]
        total = 0.0
        for z in range(probs.shape[1]):
            total += row[z] * probs[i, z]
        out[i] += total
