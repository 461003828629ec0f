"""TransRate.

Source: L.-K. Huang et al., "Frustratingly Easy Transferability Estimation", ICML 2022.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, eigh

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import RANK_TOLERANCE, FeatureSample, Floats
from leepfrog.scoring.score import Score, with_influence

EPSILON = 1e-4
# Compared with a ridge of exp(600), any matrix of features divided by their unit is negligible.
MOST_RIDGE = 600.0


def transrate(features: ArrayLike, labels: ArrayLike, epsilon: float = EPSILON) -> Score:
    """Compute the reduction in the coding rate of features, in nats, if the classes are known.

        TrR = R(Z) - sum_c n_c / N R(Z_c),  R(Z) = 1/2 log det(I + Z'Z / (n epsilon))

    for centered features Z [n, D]; Z_c are the rows of class c, centered by the overall mean as in the paper. `epsilon`
    is absolute, so the score depends on the scale of the features and compares networks only if their scales agree.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        epsilon: squared distortion of the code.

    Returns:
        Score without diagnostics.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> import numpy as np
    >>> labels = np.repeat([0, 1, 2], 4)
    >>> transrate(np.eye(3)[labels], labels) > transrate(np.eye(3)[[0, 1, 2] * 4], labels)
    True
    """
    return score_transrate(FeatureSample.of(labels, features), epsilon)


@of_features("class separation, by coding rate")
def score_transrate(sample: FeatureSample, epsilon: float = EPSILON) -> Score:
    """Compute `transrate` of a checked sample.

    Features are divided by their unit, and epsilon by its square, in logarithms.
    """
    z = sample.coordinates
    distortion = math.log(epsilon) - 2 * math.log(sample.unit)
    least = RANK_TOLERANCE * float((z**2).sum())
    value, influence = 0.0, np.zeros(len(z))
    if z.shape[1]:
        everything = np.ones(len(z), bool)
        value, lost = _rate(z, everything, distortion, least)
        influence += len(z) * lost
        for label, count in enumerate(sample.counts):
            rate, lost = _rate(z, sample.labels == label, distortion, least)
            value -= count / len(z) * rate
            influence -= count * lost
    return with_influence("transrate", value, influence, sample.labels, sample.features.shape[1], {})


def _rate(z: Floats, members: NDArray[np.bool_], distortion: float, least: float) -> tuple[float, Floats]:
    """Return R of the rows `members` of z [N, r], and its loss when each row of z is removed, [N] (with n fixed).

    `distortion` is the logarithm of epsilon. For the losses, n epsilon is raised to `least`, which is above rounding.

    Removing a row also moves the overall mean by which the rows are centered: with A = n epsilon I + Z'Z,
    b = 1 / (N - 1) and s the sum of the n remaining rows, A becomes A - z_i z_i' (if the row is one of `members`) +
    b (s z_i' + z_i s') + n b^2 z_i z_i', whose determinant is that of A times determinants of 2 by 2 matrices.
    """
    rows, n, b = z[members], int(members.sum()), 1 / max(len(z) - 1, 1)
    ridge = math.log(n) + distortion
    if n <= z.shape[1]:  # A^-1 = (I - rows' (ridge I + rows rows')^-1 rows) / ridge
        gram, products = rows @ rows.T, z @ rows.T
        inverse, value, ridge = _inverse(gram, ridge, least)
        within = products @ inverse
        squares = ((z**2).sum(axis=1) - (within * products).sum(axis=1)) / ridge  # z_i' A^-1 z_i
        to_total = within.sum(axis=1)  # z_i' A^-1 s
        of_total = float((gram @ inverse).sum())
    else:
        inverse, value, _ = _inverse(rows.T @ rows, ridge, least)
        within, total = z @ inverse, rows.sum(axis=0)
        squares, to_total = (within * z).sum(axis=1), within @ total
        of_total = float(total @ inverse @ total)
    left = np.where(members, np.maximum(1 - squares, np.finfo(float).eps), 1.0)
    # The same products with the row removed from A and from s.
    squares, to_rest = squares / left, np.where(members, to_total - squares, to_total) / left
    of_rest = np.where(members, of_total - to_total + (to_total - squares * left) * to_rest - to_rest * left, of_total)
    n_left = n - members
    moved = (1 + b * to_rest) * (1 + b * to_rest + n_left * b**2 * squares) - b**2 * squares * (
        of_rest + n_left * b * to_rest
    )
    return value, -np.log(np.maximum(left * moved, np.finfo(float).tiny)) / 2


def _inverse(gram: Floats, log_ridge: float, least: float) -> tuple[Floats, float, float]:
    """Return (gram + ridge I)^-1, half the log-determinant of I + gram / ridge, and the ridge, raised to `least`.

    The determinant uses the original ridge; if that is below `least`, eigenvalues within rounding error count as 0.
    """
    log_ridge = min(log_ridge, MOST_RIDGE)
    size, ridge = len(gram), math.exp(log_ridge)
    value = None
    if ridge < least:
        eigenvalues = eigh(gram, eigvals_only=True)
        eigenvalues = eigenvalues[eigenvalues > size * np.finfo(float).eps * max(eigenvalues[-1], 0.0)]
        value = float(np.logaddexp(0, np.log(eigenvalues) - log_ridge).sum()) / 2
        ridge = least
    factor = cho_factor(gram + ridge * np.eye(size), lower=True)
    if value is None:
        value = float(np.log(np.diagonal(factor[0])).sum()) - size / 2 * log_ridge
    return cho_solve(factor, np.eye(size)), value, ridge
