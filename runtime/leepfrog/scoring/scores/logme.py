"""LogME: log maximum evidence of Bayesian linear regression.

Source: K. You, Y. Liu, J. Wang, M. Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
ICML 2021. In closed form, except for a one-dimensional search per class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats, principal, spectrum
from leepfrog.scoring.score import Score, with_influence

# Search range of a / b, in units of the largest eigenvalue, and resolution: POINTS on a logarithmic scale, then
# bisections of the interval between the neighbours of the best point.
LOW, HIGH = 1e-10, 1e6
POINTS, BISECTIONS = 65, 40
# Squared errors below this fraction of |y|^2 are rounding.
ROUNDING = 1e-13


def logme(features: ArrayLike, labels: ArrayLike) -> Score:
    """Compute the log evidence per image of Bayesian linear regression to one-hot labels, averaged over classes.

    For a class with targets y [N], and the prior precision a and noise precision b that maximize it, it is

        1/N ( D/2 log a + N/2 log b - N/2 log 2 pi - b/2 |F m - y|^2 - a/2 |m|^2
              - 1/2 sum_{i <= D} log(a + b s_i) )

    with s_i all D eigenvalues of F'F, including zeros, and m = b (a I + b F'F)^-1 F' y. At rank k < D, D - k terms
    log(a + 0) cancel D - k of the D terms log a; dropping them on one side only would make the score grow with the
    number of features.

    Args:
        features: [N, D], not centered.
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `rank` and `n_not_converged`, the number of classes whose targets the features fit
        exactly, so that the noise precision has no maximum and stops at a limit.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> separate, mixed = [[0.0], [0.1], [1.0], [1.1]], [[0.0], [1.0], [0.1], [1.1]]
    >>> logme(separate, labels) > logme(mixed, labels)
    True
    """
    return score_logme(FeatureSample.of(labels, features))


@of_features("evidence of a Bayesian linear head; the global maximum, with all D eigenvalues, unlike published code")
def score_logme(sample: FeatureSample) -> Score:
    """Compute `logme` of a checked sample, with one decomposition for all classes."""
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
        single = vectors.astype(np.float32)  # precise enough for the influence
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
    """Return N times the loss in evidence when each image is removed, averaged over classes, [N], up to a constant.

    At the maximum, a and b can stay fixed, and the loss in evidence without image i is the log density that the other
    images predict for it: (log(1 - h_i) - b r_i^2 / (1 - h_i)) / 2 with the residual r_i and h_i = b f_i' (a I +
    b F'F)^-1 f_i. (The derivative, -(h_i + b r_i^2) / 2, is uninformative if D exceeds N, because all h_i are then
    nearly 1.) A class that is fitted exactly is excluded, because its b is unbounded.

    Args:
        s: eigenvalues, [k].
        blocks: slices of the images, and the corresponding rows of the features' left singular vectors, [n, k].
        along: components of the targets along these vectors, [k, C].
        labels: class index of each image, [N].
        t: a / b for each class, [C].
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
    """Return the maximal evidence per image of each class, its t, and whether it grows with b without limit, [C] each.

    With t = a / b, the best b is n / q(t), where q = sum_k u_k t / (t + s_k) + o, u_k is the squared component of the
    targets along direction k, and o is their squared norm outside all directions. This leaves a one-dimensional search,

        max_t  1/2 sum_k log(t / (t + s_k)) - N/2 log(2 pi e q(t) / N)

    without a fixed-point iteration that may stop early or at the lower of two maxima. The D - k directions without
    features contribute log a on both sides of the equation, which cancel.

    Args:
        s: nonzero eigenvalues in descending order, [k].
        along: squared components u_k of the targets, [k, C].
        outside: squared norms o of the targets outside all directions, [C].
        n: number of images.
    """
    unit = s[0] if len(s) else 1.0
    # First, the same values of t for all classes; a class with several maxima gets the highest.
    points = unit * np.exp(np.linspace(np.log(LOW), np.log(HIGH), POINTS))
    parts = points[:, None] / (points[:, None] + s)
    best = _evidence(np.log(parts).sum(axis=1)[:, None], parts @ along + outside, n).argmax(axis=0)
    # Then, the zero of the derivative with respect to log t between the neighbours of the best value.
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
    """Return the evidence per image from sum_k log(t / (t + s_k)) and q(t)."""
    return np.asarray((logs - n * np.log(2 * np.pi * np.e * np.maximum(q, np.finfo(float).tiny) / n)) / (2 * n))
