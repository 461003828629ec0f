"""Sampling uncertainty of scores (stratified bootstrap over per-image influence).

Every score is the mean of one term per image (`Score.terms`). For a score that is not itself a mean, the terms are its
value plus each image's influence: the derivative of the score with respect to the image's weight (the infinitesimal
jackknife: L. Jaeckel, 1972; B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982). A single
resampling of the terms therefore serves all scores of all models, without inference or refitting.

Refitting each score to resampled images would be wrong for scores that leave images out (leave-one-out LEEP, ridge,
k-NN, probes): a resample contains duplicates, and the score would have seen a copy of the image it leaves out.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.bootstrap import add_resampled

Floats = NDArray[np.float64]

REPLICATES = 1000
LEVEL = 0.9
# Squares of larger terms may overflow.
LARGE = 1e100


def strata(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an order of the images, [N], and the start of each stratum in it, [K + 1].

    A stratum is a class, since the number of images per class is the user's choice, not chance. Classes with one image,
    which cannot vary alone, are merged into one stratum; if there is only one such class, it joins the smallest other
    class.
    """
    counts = np.bincount(labels)
    place = np.arange(len(counts))
    single = np.flatnonzero(counts == 1)
    place[single] = len(counts)
    if len(single) == 1 and (counts > 1).any():
        place[single] = np.where(counts > 1, counts, counts.max() + 1).argmin()
    order = np.argsort(place[labels], kind="stable")
    sizes = np.bincount(place[labels])
    return order, np.concatenate([[0], np.cumsum(sizes[sizes > 0])])


def standard_error(terms: Floats, labels: NDArray[np.int64]) -> float | None:
    """Return the standard error of the mean of terms [N], stratified by class; None for a single image."""
    if len(terms) < 2:
        return None
    order, starts = strata(labels)
    largest = float(np.abs(terms).max())
    unit = largest if largest > LARGE else 1.0
    parts = [terms[order[a:b]] / unit for a, b in itertools.pairwise(starts)]
    return unit * float(np.sqrt(sum(len(part) * part.var(ddof=1) for part in parts)) / len(terms))


def resampled_means(terms: Floats, labels: NDArray[np.int64], replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """Return means of terms [N, S] over resampled images, [B, S]; all columns of a row share the same images.

    Resampling is stratified by class. Within a class of n images, deviations are scaled by sqrt(n / (n - 1)), because
    resamples of few images would otherwise vary too little (J. N. K. Rao, C. F. J. Wu, "Resampling inference with
    complex survey data", 1988).
    """
    order, starts = strata(labels)
    mean = terms.mean(axis=0)
    stretched = terms[order] - mean
    for a, b in itertools.pairwise(starts):
        if b - a > 1:
            middle = stretched[a:b].mean(axis=0)
            stretched[a:b] = middle + (stretched[a:b] - middle) * np.sqrt((b - a) / (b - a - 1))
    sums = np.zeros((replicates, terms.shape[1]))
    add_resampled(np.ascontiguousarray(stretched), starts, seed, sums)
    return np.asarray(mean + sums / len(terms))


def intervals(replicates: Floats, level: float = LEVEL) -> Floats:
    """Return the central interval that contains a fraction `level` of the replicates [B, S], [S, 2]."""
    outside = (1 - level) / 2
    return np.asarray(np.quantile(replicates, [outside, 1 - outside], axis=0).T)
