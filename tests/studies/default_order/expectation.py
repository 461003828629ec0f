"""The accuracy to expect of each model, how sure that is, and what choosing one of them may cost.

A model's held-out predictions say two things of it: how many images it gets right, which is what is wanted but coarse,
and how likely it finds the right classes, which is finer but something else. Across the models of a ranking the two go
together, so the second steadies the first. This is a normal model with a prior that the models themselves give
(parametric empirical Bayes: C. Morris, JASA 1983): what is extreme by chance is drawn towards what is usual, and since
the same holds for whichever model comes out first, no winner is flattered (B. Efron, "Tweedie's formula and selection
bias", JASA 2011).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from leepfrog.scoring.uncertainty import strata
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 4000
LEVEL = 0.9

# What is not known from the images at hand, from tests/studies/default_order. Angles are asin(sqrt(accuracy)).
# How much more held-out accuracy varies than the accuracy of so many independent images.
INFLATION = 1.15
# How far a retrained head's angle lies from that of the head that was judged, beside chance.
OTHER_HEAD = 0.015
# The spread of angles among models, that of mean log-likelihoods per angle, and how well the two go together; they
# count as much as so many models.
USUAL_SPREAD, USUAL_SLOPE, USUAL_CORRELATION, WEIGHT = 0.1, 2.5, 0.97, 4.0


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What to expect of models.

    Attributes:
        accuracy: of a head retrained on these images, on further ones, [M].
        interval: holds it with a probability of 90 %, [M, 2].
        loss: how far below the best model's it is to be expected, [M].
        probability_best: [M].
    """

    accuracy: Floats
    interval: Floats
    loss: Floats
    probability_best: Floats


def expectation(
    correct: Sequence[NDArray[np.bool_]], terms: Sequence[Floats], labels: NDArray[np.int64], seed: int = 0
) -> Expectation:
    """What held-out predictions let expect.

    Args:
        correct: whether each model is right about each of N images, [N] a model.
        terms: each model's log-likelihood of each image's class, [N].
        labels: the images' classes, [N].
        seed: of the draws.
    """
    mean, covariance = posterior(np.stack(correct).astype(float), np.stack(terms), labels)
    draws = np.random.default_rng(seed).multivariate_normal(mean, covariance, DRAWS, method="eigh")
    accuracy = np.sin(np.clip(draws, 0, np.pi / 2)) ** 2
    best = accuracy.max(axis=1, keepdims=True)
    first = accuracy == best
    outside = (1 - LEVEL) / 2
    return Expectation(
        accuracy.mean(axis=0),
        np.quantile(accuracy, [outside, 1 - outside], axis=0).T,
        (best - accuracy).mean(axis=0),
        (first / first.sum(axis=1, keepdims=True)).mean(axis=0),
    )


def posterior(correct: Floats, terms: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean [M] and covariance [M, M] of the models' angles, from what is right [M, N] and likelihoods [M, N]."""
    n_models, n = correct.shape
    share = (correct.sum(axis=1) + 3 / 8) / (n + 3 / 4)
    angles = np.arcsin(np.sqrt(share))
    # Each image's part in the angle and in the likelihood.
    parts = np.vstack(
        [(correct - correct.mean(axis=1, keepdims=True)) / (2 * np.sqrt(share * (1 - share)))[:, None], terms]
    )
    sampling = INFLATION**2 * _covariance_of_means(parts, labels)
    # A model that is right about all images may still be wrong about others.
    least = INFLATION**2 / (4 * n)
    at = np.arange(n_models)
    sampling[at, at] = np.maximum(sampling[at, at], 0.5 * least)
    sampling[at, at] += OTHER_HEAD**2
    seen = np.concatenate([angles, terms.mean(axis=1)])
    spread = _spread(seen, sampling, n_models)
    prior = np.kron(spread, np.eye(n_models))
    total = prior + sampling
    # The mean of each kind, by generalised least squares.
    kinds = np.kron(np.eye(2), np.ones((n_models, 1)))
    weighted = np.linalg.solve(total, kinds)
    precision = kinds.T @ weighted
    means = np.linalg.solve(precision, weighted.T @ seen)
    gain = np.linalg.solve(total, prior[:, :n_models]).T
    mean = kinds[:n_models] @ means + gain @ (seen - kinds @ means)
    # What is left open by the images, and by the means that are not known.
    open_ = kinds[:n_models] - gain @ kinds
    covariance = prior[:n_models, :n_models] - gain @ prior[:, :n_models] + open_ @ np.linalg.solve(precision, open_.T)
    return mean, (covariance + covariance.T) / 2


def _spread(seen: Floats, sampling: Floats, n_models: int) -> Floats:
    """Covariance of angle and likelihood among models, [2, 2]: what is seen less what is chance, and what is usual."""
    usual = (
        np.array([[1, USUAL_CORRELATION * USUAL_SLOPE], [USUAL_CORRELATION * USUAL_SLOPE, USUAL_SLOPE**2]])
        * USUAL_SPREAD**2
    )
    pairs = seen.reshape(2, n_models)
    apart = pairs - pairs.mean(axis=1, keepdims=True)
    middle = np.eye(n_models) - 1 / n_models
    chance = np.array(
        [
            [
                np.trace(middle @ sampling[i * n_models : (i + 1) * n_models, j * n_models : (j + 1) * n_models])
                for j in (0, 1)
            ]
            for i in (0, 1)
        ]
    )
    found = apart @ apart.T - chance
    values, vectors = np.linalg.eigh((found + found.T) / 2)
    found = (vectors * np.maximum(values, 0)) @ vectors.T
    return np.asarray((found + WEIGHT * usual) / (n_models - 1 + WEIGHT))


def _covariance_of_means(parts: Floats, labels: NDArray[np.int64]) -> Floats:
    """Covariance of the means of parts [K, N] over images drawn class by class, [K, K]."""
    order, starts = strata(labels)
    sums = np.zeros((len(parts), len(parts)))
    for a, b in itertools.pairwise(starts):
        of_class = parts[:, order[a:b]]
        apart = of_class - of_class.mean(axis=1, keepdims=True)
        sums += apart @ apart.T * ((b - a) / max(b - a - 1, 1))
    return sums / len(labels) ** 2
