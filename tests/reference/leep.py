"""LEEP as defined in its paper, in exact rational arithmetic; only the logarithm is rounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Rows = Sequence[Sequence[float]]


def log(x: Fraction) -> float:
    """Return the natural logarithm of a positive fraction of any size."""
    # math.log accepts integers of any length, so nothing underflows.
    return math.log(x.numerator) - math.log(x.denominator) if x < Fraction(1, 2**1000) else math.log(x)


def leep(probs: Rows, labels: Sequence[int]) -> float:
    """Compute 1/N sum_i log sum_z P(y_i | z) theta_z(x_i)."""
    theta = [[Fraction(float(p)) for p in row] for row in probs]
    N, Z = len(theta), len(theta[0])
    total = 0.0
    for i in range(N):
        likelihood = Fraction(0)
        for z in range(Z):
            mass = sum((theta[j][z] for j in range(N)), Fraction(0)) / N
            joint = sum((theta[j][z] for j in range(N) if labels[j] == labels[i]), Fraction(0)) / N
            if mass > 0:
                likelihood += joint / mass * theta[i][z]
        total += log(likelihood)
    return total / N


def leep_loo(probs: Rows, labels: Sequence[int]) -> float:
    """Compute LEEP with image i omitted from both sums; likelihoods are at least 1 / (N C)."""
    theta = [[Fraction(float(p)) for p in row] for row in probs]
    N, Z, C = len(theta), len(theta[0]), len(set(labels))
    total = 0.0
    for i in range(N):
        likelihood = Fraction(0)
        others = [j for j in range(N) if j != i]
        for z in range(Z):
            mass = sum((theta[j][z] for j in others), Fraction(0))
            joint = sum((theta[j][z] for j in others if labels[j] == labels[i]), Fraction(0))
            if mass > 0:
                likelihood += joint / mass * theta[i][z]
        total += log(max(likelihood, Fraction(1, N * C)))
    return total / N
