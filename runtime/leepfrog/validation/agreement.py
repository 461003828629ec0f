"""How well a score foretells the truth about some models (or some tasks)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOP = 3
CHANCE_ORDERS = 1000


@dataclasses.dataclass(frozen=True)
class Agreement:
    """A score against the truth. None where it is not defined, as for a score that is the same for all.

    Attributes:
        n: models (or tasks) compared.
        pearson: linear correlation.
        kendall: Kendall's tau-b.
        weighted_tau: Vigna's tau with hyperbolic weights, which counts an error more the nearer it is to the top.
        regret: what the model that the score puts first loses against the best of all, in points of 100; the mean where
            several are first.
        rel_at_k: the best among the score's first k, as a part of the best of all.
    """

    n: int
    pearson: float | None
    kendall: float | None
    weighted_tau: float | None
    regret: float
    rel_at_k: float


def agreement(scores: Sequence[float | None], truth: Sequence[float], k: int = TOP) -> Agreement:
    """Agreement of scores with the truth, from 0 to 1; models without a score can not be chosen by it.

    Source of the weighted tau: S. Vigna, "A weighted correlation index for rankings with ties", WWW 2015.
    """
    from scipy import stats

    best = max(truth)
    known = [i for i, score in enumerate(scores) if score is not None]
    x = np.array([scores[i] for i in known], float)
    y = np.array([truth[i] for i in known], float)
    if not known:
        return Agreement(0, None, None, None, 100 * (best - float(np.mean(truth))), float(np.mean(truth)) / best)
    varied = len(known) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
    first = np.flatnonzero(x == x.max())
    top = np.lexsort((y, -x))[:k]  # of equal scores the worse model, for it may be taken
    return Agreement(
        len(known),
        float(np.corrcoef(x, y)[0, 1]) if varied else None,
        _number(stats.kendalltau(x, y).statistic) if varied else None,
        _number(stats.weightedtau(x, y).statistic) if varied else None,
        100 * (best - float(y[first].mean())),
        float(y[top].max()) / best if best > 0 else 1.0,
    )


def mean_agreement(agreements: Sequence[Agreement]) -> Agreement:
    """Over repetitions, leaving out what is not defined."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if known else None

    regret = mean([agreement.regret for agreement in agreements])
    rel = mean([agreement.rel_at_k for agreement in agreements])
    assert regret is not None
    assert rel is not None
    return Agreement(
        agreements[0].n,
        mean([agreement.pearson for agreement in agreements]),
        mean([agreement.kendall for agreement in agreements]),
        mean([agreement.weighted_tau for agreement in agreements]),
        regret,
        rel,
    )


def within_groups(x: Floats, y: Floats, groups: NDArray[np.int64]) -> float | None:
    """Pearson's correlation of x and y [T], each group's mean taken off; None without variation."""
    left = [values - (np.bincount(groups, values) / np.maximum(np.bincount(groups), 1))[groups] for values in (x, y)]
    sizes = [float(np.sqrt((values**2).sum())) for values in left]
    if min(sizes) <= 1e-12:
        return None
    return float(left[0] @ left[1]) / (sizes[0] * sizes[1])


def chance_spread(n: int) -> float:
    """Standard deviation of the weighted tau of n models by a score that knows nothing, from random orders."""
    from scipy import stats

    rng, truth = np.random.default_rng(0), np.arange(n)
    return float(np.std([stats.weightedtau(rng.permutation(n), truth).statistic for _ in range(CHANCE_ORDERS)]))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
