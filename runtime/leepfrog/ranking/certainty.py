"""How sure a ranking is: intervals, chances to be the best, groups that the images do not tell apart."""

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

# Two models are tied where the chance that the order is the other way round is larger: two standard errors, a coin's
# chance of 1 in 20 to call equals apart in either direction.
TIE_CHANCE, TIE_ERRORS = 0.025, 2.0
# And what it takes to see a real difference with a chance of 4 in 5.
POWER_ERRORS = TIE_ERRORS + 0.84
# Beyond so many times the images at hand, nobody will take them.
MOST_TIMES = 100


@dataclasses.dataclass(frozen=True)
class Separation:
    """What would tell two models apart.

    Attributes:
        first, second: the models' names.
        difference: of their scores.
        standard_error: of the difference, the same images for both.
        images_needed: further images, classes in the same proportions, with which the difference, if it is what it
            seems, would show with a chance of 4 in 5; None for more than MOST_TIMES those at hand.
    """

    first: str
    second: str
    difference: float
    standard_error: float
    images_needed: int | None


@dataclasses.dataclass(frozen=True)
class Certainty:
    """An order of models, and how sure it is.

    Attributes:
        order: positions of the models, best first. All that follows is in this order.
        names: the models' names.
        scores: the models' scores by name, with intervals.
        losses: how far each is expected to be below whichever is best; None where no accuracy decides.
        probability_best: one per model: the chance that it is the first.
        groups: one per model, from 1: models of a group are tied with its first.
        tied_with: one per model: places of all models that it is tied with.
        separation: of the first two, where they are tied.
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
    """The order of models and how sure it is.

    What the images leave open comes from the terms of the scores, resampled with the same images for all models, so
    that what is hard for all counts for none; for expected accuracies, from their joint distribution.

    Args:
        names: the models.
        decision: their scores.
        labels: the images' classes [N], in the order of the scores' terms.
    """
    # Models that are alike but for rounding stay in the order in which they were given.
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
        # A tie, such as of two models that know everything, is shared.
        (best / best.sum(axis=1, keepdims=True)).mean(axis=0).tolist(),
        _groups(draws),
        _ties(draws),
        _separation(ordered_names, order, decision, draws, len(labels)),
    )


def _tied(draws: Floats, better: int, other: int) -> bool:
    """Whether draws [B, M], as likely as each other, leave open which of two models is better."""
    return float((draws[:, other] >= draws[:, better]).mean()) > TIE_CHANCE


def _groups(draws: Floats) -> list[int]:
    """The first model without a group leads one, and all that are tied with it join."""
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
    """What would tell the first two apart, where they are tied."""
    if len(names) < 2 or not _tied(draws, 0, 1):
        return None
    first, second = (decision.deciding[i].value for i in order[:2])
    error = float((draws[:, 0] - draws[:, 1]).std())
    times = _times_as_many(order, decision, first - second, error)
    needed = None if times is None else math.ceil(n * (times - 1))
    return Separation(names[0], names[1], first - second, error, needed)


def _times_as_many(order: Sequence[int], decision: Decision, difference: float, error: float) -> float | None:
    """How many times the images at hand would likely tell the first two models apart; None for beyond MOST_TIMES."""
    most = float(MOST_TIMES + 1)
    if decision.expected is None:  # the error falls with the root of the number of images
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
