"""LogME: log maximum evidence of Bayesian linear regression.

Source: K. You, Y. Liu, J. Wang, M. Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
ICML 2021. In closed form but for one number a class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats, principal, spectrum
from leepfrog.scoring.score import Score, with_influence

# Where a / b is looked for, in units of the largest eigenvalue, and how closely: POINTS on a logarithmic scale, then
# halvings of what lies between the neighbours of the best.
LOW, HIGH = 1e-10, 1e6
POINTS, BISECTIONS = 65, 40
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
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `rank` and `n_not_converged`: classes whose targets the features fit without error, so
        that the noise precision has no maximum and stops at a limit.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_logme(FeatureSample.of(labels, features))


@of_features("evidence of a Bayesian linear head; the global maximum, with all D eigenvalues, unlike published code")
def score_logme(sample: FeatureSample) -> Score:
    """`logme` of a checked sample; one decomposition for all classes."""
    n, width = sample.features.shape
    if n <= width:
        eigenvalues, coordinates = principal(sample.x)
        directions = coordinates / np.sqrt(eigenvalues)
        along = directions.T @ sample.one_hot
        blocks: Iterable[tuple[slice, NDArray[np.floating]]] = [(slice(0, n), directions)]
    else:
        scatter, by_class = sample.moments
        eigenvalues, vectors = spectrum(scatter + n * np.outer(sample.mean, sample.mean))
        vectors = vectors / np.sqrt(eigenvalues)
        along = vectors.T @ (by_class + np.outer(sample.mean, sample.counts))
        single = vectors.astype(np.float32)  # is enough for errors of errors
        blocks = ((at, rows.astype(np.float32) @ single) for at, rows in sample.blocks())
    outside = np.maximum(sample.counts - (along**2).sum(axis=0), 0.0)
    outside[outside <= ROUNDING * sample.counts] = 0.0
    evidence, t, at_limit = _best_evidence(eigenvalues, along**2, outside, len(sample))
    diagnostics = {"rank": len(eigenvalues), "n_not_converged": int(at_limit.sum())}
    value = math.fsum(evidence) / len(evidence)
    influence = _influence(eigenvalues, blocks, along, sample.labels, t)
    return with_influence("logme", value, influence, sample.labels, width, diagnostics)


def _influence(
    s: Floats,
    blocks: Iterable[tuple[slice, NDArray[np.floating]]],
    along: Floats,
    labels: NDArray[np.int64],
    t: Floats,
) -> Floats:
    """What N times the evidence loses without each image, mean over classes, [N], up to a constant.

    At the maximum a and b need not move, and evidence less evidence without image i is the log density that the others
    predict for it: (log(1 - h_i) - b r_i^2 / (1 - h_i)) / 2 with the residual r_i and h_i = b f_i' (a I + b F'F)^-1
    f_i. (The derivative, -(h_i + b r_i^2) / 2, says nothing where D exceeds N, for then all h_i are nearly 1.) A class
    that is fitted without error is left out, for its b has no end.

    Args:
        s: eigenvalues, [k].
        blocks: rows of the features' left singular vectors, [n, k], and which they are.
        along: the targets' parts along them, [k, C].
        labels: [N].
        t: a / b of each class, [C].
    """
    counts = np.bincount(labels)
    share = s[:, None] / (t + s[:, None])
    q = counts - (share * along**2).sum(axis=0)
    fitted = q > ROUNDING * counts
    precision = np.where(fitted, len(labels) / np.where(fitted, q, 1.0), 0.0)
    losses = np.empty(len(labels))
    for at, rows in blocks:
        kind = rows.dtype
        residual = np.eye(len(counts))[labels[at]] - rows @ (share * along).astype(kind)
        left = np.maximum(1 - rows**2 @ share.astype(kind), np.finfo(kind).eps)
        terms = np.log(left) - precision * residual**2 / left
        losses[at] = terms[:, fitted].sum(axis=1)
    return losses / (2 * len(counts))


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
    # The same values of t for all classes first; a class with several maxima gets the highest.
    points = unit * np.exp(np.linspace(np.log(LOW), np.log(HIGH), POINTS))
    parts = points[:, None] / (points[:, None] + s)
    best = _evidence(np.log(parts).sum(axis=1)[:, None], parts @ along + outside, n).argmax(axis=0)
    # Then the zero of the derivative by log t between its neighbours.
    low, high = np.log(points[np.maximum(best - 1, 0)]), np.log(points[np.minimum(best + 1, POINTS - 1)])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        part = np.exp(middle) / (np.exp(middle) + s[:, None])
        q = np.maximum((along * part).sum(axis=0) + outside, np.finfo(float).tiny)
        slope = (1 - part).sum(axis=0) - n * (along * part * (1 - part)).sum(axis=0) / q
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    t = np.exp((low + high) / 2)
    part = t / (t + s[:, None])
    return _evidence(np.log(part).sum(axis=0), (along * part).sum(axis=0) + outside, n), t, best == 0


def _evidence(logs: Floats, q: Floats, n: int) -> Floats:
    """Evidence per image from sum_k log(t / (t + s_k)) and q(t)."""
    return np.asarray((logs - n * np.log(2 * np.pi * np.e * np.maximum(q, np.finfo(float).tiny) / n)) / (2 * n))
