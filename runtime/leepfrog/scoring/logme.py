"""LogME: log maximum evidence of Bayesian linear regression.

Source: K. You, Y. Liu, J. Wang, M. Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
ICML 2021. In closed form but for one number a class.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.scoring.sample import Floats, Sample, principal
from leepfrog.scoring.score import Score, with_influence

# Where a / b is looked for, in units of the largest eigenvalue, and how closely: POINTS on a logarithmic scale, and
# then again between the neighbours of the best, ZOOMS times.
LOW, HIGH = 1e-10, 1e6
POINTS, ZOOMS = 65, 6
# What is no error but rounding, of |y|^2.
ROUNDING = 1e-13


def logme(features: ArrayLike, labels: ArrayLike) -> Score:
    """Log evidence an image of a Bayesian linear regression from features to a class's 0 and 1, mean over classes.

    For a class with targets y [N], prior precision a and noise precision b, both those that maximise it,

        1/N ( D/2 log a + N/2 log b - N/2 log 2 pi - b/2 |F m - y|^2 - a/2 |m|^2 - 1/2 sum_{i <= D} log(a + b s_i) )

    with s_i all D eigenvalues of F'F, zeros included, and m = b (a I + b F'F)^-1 F' y. At rank k < D, D - k terms
    log(a + 0) cancel as many of D log a; dropping them on one side only makes the score grow with the features' number.

    Args:
        features: [N, D], not centred.
        labels: [N] integers.

    Returns:
        Score with diagnostics `rank` and `n_not_converged`: classes whose targets the features fit without error, so
        that the noise precision has no maximum and stops at a limit.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_logme(Sample.of(labels, features=features))


def score_logme(sample: Sample) -> Score:
    """`logme` of a checked sample; one decomposition for all classes."""
    assert sample.features is not None
    eigenvalues, coordinates = principal(sample.x)
    # Coordinates are U sqrt(s): the squares of U'y are what the targets have along each direction.
    along = (coordinates.T @ sample.one_hot) ** 2 / eigenvalues[:, None]
    outside = np.maximum(sample.counts - along.sum(axis=0), 0.0)
    outside[outside <= ROUNDING * sample.counts] = 0.0
    evidence, t, at_limit = _best_evidence(eigenvalues, along, outside, len(sample))
    diagnostics = {"rank": len(eigenvalues), "n_not_converged": int(at_limit.sum())}
    value = math.fsum(evidence) / len(evidence)
    influence = _influence(eigenvalues, coordinates, sample.one_hot, t)
    return with_influence("logme", value, influence, sample.labels, sample.features.shape[1], diagnostics)


def _influence(s: Floats, coordinates: Floats, targets: Floats, t: Floats) -> Floats:
    """What N times the evidence loses without each image, mean over classes, [N], but for a constant.

    At the maximum a and b need not move, and evidence less evidence without image i is the log density that the others
    predict for it: (log(1 - h_i) - b r_i^2 / (1 - h_i)) / 2 with the residual r_i and h_i = b f_i' (a I + b F'F)^-1
    f_i. (The derivative, -(h_i + b r_i^2) / 2, says nothing where D exceeds N, for then all h_i are nearly 1.) A class
    that is fitted without error is left out, for its b has no end.
    """
    found = np.zeros(len(targets))
    directions = coordinates / np.sqrt(s)
    squares = directions**2
    for label in range(targets.shape[1]):
        share = s / (t[label] + s)
        along = directions.T @ targets[:, label]
        residual = targets[:, label] - directions @ (share * along)
        q = float(targets[:, label] @ residual)
        if q > ROUNDING * float(targets[:, label].sum()):
            left = np.maximum(1 - squares @ share, np.finfo(float).eps)
            found += 0.5 * (np.log(left) - len(targets) / q * residual**2 / left)
    return np.asarray(found / targets.shape[1])


def _best_evidence(s: Floats, along: Floats, outside: Floats, n: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """The maximal evidence per image of each class, [C], where (t), and whether it has no maximum but grows with b.

    With t = a / b the best b is n / q(t), q = sum_k u_k t / (t + s_k) + o, u_k the square of the targets' part along
    direction k and o what is left of them; so that one number is to be found,

        max_t  1/2 sum_k log(t / (t + s_k)) - N/2 log(2 pi e q(t) / N)

    with no fixed point that may stop early or at the lesser of two maxima. The D - k directions without features give
    log a on both sides of the equation, which cancel.

    Args:
        s: the eigenvalues that are not 0, [k], descending.
        along: [k, C].
        outside: [C].
        n: images.
    """
    unit = s[0] if len(s) else 1.0

    def evidence(logs: Floats) -> Floats:
        """Of logarithms of t / unit [C, P], [C, P]."""
        t = unit * np.exp(logs)
        found = np.empty_like(t)
        for label in range(len(t)):
            parts = t[label] / (t[label] + s[:, None])
            q = np.maximum(along[:, label] @ parts + outside[label], np.finfo(float).tiny)
            found[label] = np.log(parts).sum(axis=0) - n * np.log(2 * np.pi * np.e * q / n)
        return found / (2 * n)

    classes = np.arange(along.shape[1])
    low, high = np.full(len(classes), np.log(LOW)), np.full(len(classes), np.log(HIGH))
    at_limit = np.zeros(len(classes), bool)
    for zoom in range(ZOOMS):
        points = np.linspace(low, high, POINTS if zoom == 0 else 17, axis=1)
        values = evidence(points)
        best = values.argmax(axis=1)
        if zoom == 0:
            at_limit = best == 0
        low = points[classes, np.maximum(best - 1, 0)]
        high = points[classes, np.minimum(best + 1, points.shape[1] - 1)]
    return values[classes, best], unit * np.exp(points[classes, best]), at_limit
