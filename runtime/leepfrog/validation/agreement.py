"""Agreement of a score with the truth about models or tasks."""

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
    """Agreement of a score with the truth. Values are None where undefined, for example for a constant score.

    Attributes:
        n: number of models or tasks compared.
        pearson: linear correlation.
        kendall: Kendall's tau-b.
        weighted_tau: Vigna's tau with hyperbolic weights: errors near the top weigh more.
        regret: accuracy of the best model minus that of the model with the highest score, in percentage points; the
            mean if several models share the highest score.
        rel_at_k: best accuracy among the k models with the highest scores, divided by the best accuracy of all.
    """

    n: int
    pearson: float | None
    kendall: float | None
    weighted_tau: float | None
    regret: float
    rel_at_k: float


def agreement(scores: Sequence[float | None], truth: Sequence[float], k: int = TOP) -> Agreement:
    """Return the agreement of scores with the true accuracies (0 to 1); models without a score are never chosen.

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
    top = np.lexsort((y, -x))[:k]  # among equal scores the worse model first: it may be the one chosen
    return Agreement(
        len(known),
        float(np.corrcoef(x, y)[0, 1]) if varied else None,
        _number(stats.kendalltau(x, y).statistic) if varied else None,
        _number(stats.weightedtau(x, y).statistic) if varied else None,
        100 * (best - float(y[first].mean())),
        float(y[top].max()) / best if best > 0 else 1.0,
    )


def mean_agreement(agreements: Sequence[Agreement]) -> Agreement:
    """Return the mean over repetitions, ignoring undefined values."""

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
    """Return Pearson's correlation of x and y [T] after subtracting group means; None without variation."""
    left = [values - (np.bincount(groups, values) / np.maximum(np.bincount(groups), 1))[groups] for values in (x, y)]
    sizes = [float(np.sqrt((values**2).sum())) for values in left]
    if min(sizes) <= 1e-12:
        return None
    return float(left[0] @ left[1]) / (sizes[0] * sizes[1])


def chance_spread(n: int) -> float:
    """Return the standard deviation of the weighted tau of n models in random order, by simulation."""
    from scipy import stats

    rng, truth = np.random.default_rng(0), np.arange(n)
    return float(np.std([stats.weightedtau(rng.permutation(n), truth).statistic for _ in range(CHANCE_ORDERS)]))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
