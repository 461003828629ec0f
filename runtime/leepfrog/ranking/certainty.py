"""Statistical certainty of a ranking: intervals, probabilities of being best, groups of tied models."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.ranking.decision import Decision
from leepfrog.scoring.score import Score
from leepfrog.scoring.uncertainty import intervals, resampled_means

Floats = NDArray[np.float64]

# Two models are tied if the probability of the reverse order is larger than this. It corresponds to two standard
# errors, or a two-sided 5 % chance of separating equal models.
TIE_CHANCE, TIE_ERRORS = 0.025, 2.0
# Standard errors needed to detect a real difference with 80 % power.
POWER_ERRORS = TIE_ERRORS + 0.84
# Report no number of images beyond this multiple of the available ones: collecting them would be impractical.
MOST_TIMES = 100


@dataclasses.dataclass(frozen=True)
class Separation:
    """What it would take to separate two tied models.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        difference: score of the first minus score of the second.
        standard_error: standard error of the difference, with images paired.
        images_needed: number of additional images, in the same class proportions, needed to detect the observed
            difference with 80 % power; None if more than 100 times the available images are needed.
    """

    first: str
    second: str
    difference: float
    standard_error: float
    images_needed: int | None


@dataclasses.dataclass(frozen=True)
class Certainty:
    """An order of models and its statistical certainty.

    Attributes:
        order: input indices of the models, best first. All other attributes are in this order.
        names: names of the models.
        scores: scores of each model by name, with intervals.
        losses: expected accuracy deficit of each model against the best; None if no expected accuracy decides.
        probability_best: probability that the model is the best, for each model.
        groups: tie group of each model, from 1; the models of a group are tied with its first.
        tied_with: for each model, positions in the order of all models that it is tied with.
        separation: what it would take to separate the first two models; None if they are not tied.
    """

    order: list[int]
    names: list[str]
    scores: list[dict[str, Score]]
    losses: list[float | None]
    probability_best: list[float]
    groups: list[int]
    tied_with: list[list[int]]
    separation: Separation | None


def certainty_of(names: Sequence[str], decision: Decision, labels: NDArray[np.int64]) -> Certainty:
    """Return the order of models and its statistical certainty.

    Uncertainty is estimated by resampling the terms of the scores with the same images for all models, so that
    variation common to all models cancels. Expected accuracies use their joint distribution instead.

    Args:
        names: names of the models.
        decision: scores of the models.
        labels: class index of each image, [N], in the order of the scores' terms.
    """
    # Compare rounded scores, so that models that differ only by rounding errors keep their input order.
    order = sorted(range(len(names)), key=lambda i: -float(f"{decision.scores[i][decision.by].value:.12g}"))
    scores = [decision.scores[i] for i in order]
    score_names = [name for of_model in scores for name in of_model]
    terms = np.stack([score.terms for of_model in scores for score in of_model.values()], axis=1)
    replicates = resampled_means(terms, labels)
    bounds = [tuple(pair) for pair in intervals(replicates).tolist()]
    expected = decision.expected
    draws = replicates[:, [name == decision.by for name in score_names]]
    if expected is not None:
        draws = expected.draws[:, order]
    best = draws == draws.max(axis=1, keepdims=True)
    place = iter(bounds)
    ordered_names = [names[i] for i in order]
    return Certainty(
        order,
        ordered_names,
        [
            {
                name: dataclasses.replace(score, interval=score.interval or bound)
                for (name, score), bound in zip(of_model.items(), place, strict=False)
            }
            for of_model in scores
        ],
        [None if expected is None else float(expected.loss[i]) for i in order],
        # Models with equal draws, such as two perfect models, share the probability.
        (best / best.sum(axis=1, keepdims=True)).mean(axis=0).tolist(),
        _groups(draws),
        _ties(draws),
        _separation(ordered_names, order, decision, draws, len(labels)),
    )


def _tied(draws: Floats, better: int, other: int) -> bool:
    """Return whether two models are tied, given equally likely draws [B, M]."""
    return float((draws[:, other] >= draws[:, better]).mean()) > TIE_CHANCE


def _groups(draws: Floats) -> list[int]:
    """Return the tie groups: the first ungrouped model starts a group, and all ungrouped models tied with it join."""
    groups = [0] * draws.shape[1]
    while 0 in groups:
        leader, group = groups.index(0), max(groups) + 1
        for i in range(len(groups)):
            if not groups[i] and (i == leader or _tied(draws, leader, i)):
                groups[i] = group
    return groups


def _ties(draws: Floats) -> list[list[int]]:
    tied_with: list[list[int]] = [[] for _ in range(draws.shape[1])]
    for i, j in itertools.combinations(range(len(tied_with)), 2):
        if _tied(draws, i, j):
            tied_with[i].append(j)
            tied_with[j].append(i)
    return tied_with


def _separation(
    names: Sequence[str], order: Sequence[int], decision: Decision, draws: Floats, n: int
) -> Separation | None:
    """Return what it would take to separate the first two models; None if they are not tied."""
    if len(names) < 2 or not _tied(draws, 0, 1):
        return None
    first, second = (decision.deciding[i].value for i in order[:2])
    error = float((draws[:, 0] - draws[:, 1]).std())
    times = _times_as_many(order, decision, first - second, error)
    needed = None if times is None else math.ceil(n * (times - 1))
    return Separation(names[0], names[1], first - second, error, needed)


def _times_as_many(order: Sequence[int], decision: Decision, difference: float, error: float) -> float | None:
    """Return the multiple of the available images that would separate the first two models; None beyond MOST_TIMES."""
    most = float(MOST_TIMES + 1)
    if decision.expected is None:  # the error falls with the square root of the number of images
        times = (POWER_ERRORS * error / difference) ** 2 if difference > 0 else math.inf
        return times if times <= most else None

    def told(times: float) -> bool:
        assert decision.expected is not None
        apart, deviation = decision.expected.apart(order[0], order[1], times)
        return apart >= POWER_ERRORS * deviation

    if not told(most):
        return None
    low, high = 1.0, most
    while high > 1.02 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if told(middle) else (middle, high)
    return high
