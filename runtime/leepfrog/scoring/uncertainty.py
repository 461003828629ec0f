"""How far scores would lie from where they are, had other images of the same classes been taken.

Every score has a term for each image (`Score.terms`), of which it is the mean. For a score that is no mean by itself,
the terms are its value plus each image's influence, its derivative by the image's weight (the infinitesimal jackknife:
L. Jaeckel, 1972; B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982). So one resampling of terms
serves all scores of all models, and costs no inference and no refitting.

Refitting each score to resampled images would be wrong where a score leaves images out (leave-one-out LEEP, ridge,
k-NN, probes): a resample holds copies, and a copy is known to what it is left out of.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from leepfrog.kernels.bootstrap import add_resampled

Floats = NDArray[np.float64]

REPLICATES = 1000
LEVEL = 0.9
# The squares of larger terms may overflow.
LARGE = 1e100


def strata(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order of the images [N] and where in it each stratum starts [K + 1].

    A stratum is a class, since how many images a class has is the user's choice and not chance. Classes with one image,
    which cannot vary alone, are one stratum together; a lone one joins the smallest other class.
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
    """Standard error of the mean of terms [N], images drawn class by class; None for a single image."""
    if len(terms) < 2:
        return None
    order, starts = strata(labels)
    largest = float(np.abs(terms).max())
    unit = largest if largest > LARGE else 1.0
    parts = [terms[order[a:b]] / unit for a, b in itertools.pairwise(starts)]
    return unit * float(np.sqrt(sum(len(part) * part.var(ddof=1) for part in parts)) / len(terms))


def resampled_means(terms: Floats, labels: NDArray[np.int64], replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """Means of terms [N, S] over resampled images, [B, S]; row by row from the same images.

    Stratified by class. Within a class of n images deviations are stretched by sqrt(n / (n - 1)), without which a
    resample of few varies too little (J. N. K. Rao, C. F. J. Wu, "Resampling inference with complex survey data",
    1988).
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
    """The middle of replicates [B, S] that holds `level` of them, [S, 2]."""
    outside = (1 - level) / 2
    return np.asarray(np.quantile(replicates, [outside, 1 - outside], axis=0).T)
