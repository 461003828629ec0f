"""How well `expectation` holds where the truth is known: made models on made images, as in a probit regression."""

from __future__ import annotations

import math

import numpy as np
from leepfrog.ranking.expectation import Expectation, expectation
from studies.default_order.tables import AS_SEEN

DIFFICULTY, OWN, TIMES = 0.7, 0.7, 150


def drawn(rng: np.random.Generator, n_models: int, n: int, spread: float) -> tuple[np.ndarray, Expectation]:
    """True accuracies, and what held-out predictions of n images let expect; what is hard is hard for all models."""
    ability = rng.normal(1.0, spread, n_models)
    margins = ability[:, None] - rng.normal(0, DIFFICULTY, n) - rng.normal(0, OWN, (n_models, n))
    away = ability / math.hypot(DIFFICULTY, OWN)
    truth = np.array([(1 + math.erf(a / math.sqrt(2))) / 2 for a in away])
    labels = rng.integers(0, 5, n)
    correct, terms = (margins > 0).astype(float), -np.logaddexp(0, -2 * margins)
    return truth, expectation(correct, terms[None], labels, AS_SEEN)


def coverage(n_models: int, n: int, spread: float) -> tuple[float, float, float, float]:
    """How often the interval holds, of all and of the first model; points promised to be lost, and lost."""
    rng = np.random.default_rng([n, n_models])
    rows = []
    for _ in range(TIMES):
        truth, found = drawn(rng, n_models, n, spread)
        inside = (found.interval[:, 0] <= truth) & (truth <= found.interval[:, 1])
        first = int(found.accuracy.argmax())
        rows.append((inside.mean(), inside[first], 100 * found.loss[first], 100 * (truth.max() - truth[first])))
    shares = np.mean(rows, axis=0)
    return float(shares[0]), float(shares[1]), float(shares[2]), float(shares[3])
