"""Estimators of the Fisher information's expectation over labels, as feature gradients to backpropagate.

F_j = E_x E_{y ~ p(y|x)} (d log p(y|x) / d w_j)^2. The gradient of log p(y|x) with respect to the features is
W (e_y - p). A probe returns squared gradients, so an estimator is a list of (weight [N], cotangent [N, D]) for which
the expected value of the weighted sum of squared gradients is the inner expectation:

exact    all C classes, each weighted by its probability: C passes per image, no sampling noise from labels
sampled  one label drawn from p: one pass
signs    one pass with sum_y eps_y sqrt(p_y) W (e_y - p) for random signs eps; cross terms vanish in expectation, as in
         Hutchinson's estimator of a diagonal
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import check_name
from leepfrog.task2vec.choices import ESTIMATORS
from leepfrog.task2vec.head import Head

Floats = NDArray[np.float64]


def cotangents(
    head: Head, features: NDArray[np.floating], estimator: str, rng: np.random.Generator
) -> Iterator[tuple[Floats, NDArray[np.float32]]]:
    """Yield weights [N] and cotangents [N, D] for each pass.

    Args:
        head: head of the task.
        features: features, [N, D].
        estimator: "exact", "sampled" or "signs".
        rng: random generator for labels and signs.

    Raises:
        UsageError: the estimator is unknown.
    """
    probs = head.probs(features)
    n, n_classes = probs.shape
    if estimator == "exact":
        for label in range(n_classes):
            yield probs[:, label], _through(head, np.eye(n_classes)[label] - probs)
    elif estimator == "sampled":
        labels = (probs.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=n_classes - 1)
        yield np.ones(n), _through(head, np.eye(n_classes)[labels] - probs)
    elif estimator == "signs":
        roots = np.sqrt(probs) * rng.choice((-1.0, 1.0), probs.shape)
        yield np.ones(n), _through(head, roots - probs * roots.sum(axis=1, keepdims=True))
    else:
        check_name("estimator", estimator, ESTIMATORS)


def _through(head: Head, residual: Floats) -> NDArray[np.float32]:
    return np.asarray(residual @ head.weights.T, np.float32)
