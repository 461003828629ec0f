"""How sure a ranking is: intervals, chances to be the best, groups that the images do not tell apart."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.scoring.score import Score
from leepfrog.scoring.uncertainty import intervals, resampled_means, standard_error

Floats = NDArray[np.float64]

# Two standard errors: a coin's chance of 1 in 20 to call equals apart.
TIE_ERRORS = 2.0
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
        standard_error: of the difference, images paired.
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
    """How sure a ranking of models is.

    Attributes:
        scores: the models' scores by name, with intervals, in the models' order.
        probability_best: one a model: the share of resampled image sets in which it is the first.
        groups: one a model, from 1: models of a group are not told from its first.
        tied_with: one a model: places of all models that it is not told from.
        separation: of the first two, where they are tied.
    """

    scores: list[dict[str, Score]]
    probability_best: list[float]
    groups: list[int]
    tied_with: list[list[int]]
    separation: Separation | None


def certainty_of(
    names: Sequence[str], scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64], by: str
) -> Certainty:
    """How sure the order of models is, from their per-image terms alone.

    All scores of all models are resampled with the same images, so that what is hard for all counts for none.

    Args:
        names: the models, best first.
        scores: each model's scores by name, the one that decides among them.
        labels: the images' classes [N], in the order of the scores' terms.
        by: the score that decides the order.
    """
    score_names = [name for scores_of_model in scores for name in scores_of_model]
    terms = np.stack([score.terms for scores_of_model in scores for score in scores_of_model.values()], axis=1)
    replicates = resampled_means(terms, labels)
    bounds = iter(intervals(replicates).tolist())
    decisive_replicates = replicates[:, [name == by for name in score_names]]
    # A tie, such as of two models that know everything, is shared.
    best = decisive_replicates == decisive_replicates.max(axis=1, keepdims=True)
    chances = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    decisive_terms = [scores_of_model[by].terms for scores_of_model in scores]
    return Certainty(
        [
            {name: dataclasses.replace(score, interval=tuple(next(bounds))) for name, score in scores_of_model.items()}
            for scores_of_model in scores
        ],
        chances.tolist(),
        _groups(decisive_terms, labels),
        _ties(decisive_terms, labels),
        _separation(names, decisive_terms, labels),
    )


def tied(better: Floats, other: Floats, labels: NDArray[np.int64]) -> bool:
    """Whether two models' per-image terms [N] leave open which is better.

    The images are the same, so the difference is judged pair by pair: tied if its mean is within TIE_ERRORS of its own
    standard errors.
    """
    error = standard_error(better - other, labels)
    return error is None or float((better - other).mean()) <= TIE_ERRORS * error


def _groups(terms: Sequence[Floats], labels: NDArray[np.int64]) -> list[int]:
    """The first model without a group leads one, and all that are tied with it join."""
    groups = [0] * len(terms)
    while 0 in groups:
        leader, group = groups.index(0), max(groups) + 1
        for i, model_terms in enumerate(terms):
            if not groups[i] and (i == leader or tied(terms[leader], model_terms, labels)):
                groups[i] = group
    return groups


def _ties(terms: Sequence[Floats], labels: NDArray[np.int64]) -> list[list[int]]:
    tied_with: list[list[int]] = [[] for _ in terms]
    for i, j in itertools.combinations(range(len(terms)), 2):
        if tied(terms[i], terms[j], labels):
            tied_with[i].append(j)
            tied_with[j].append(i)
    return tied_with


def _separation(names: Sequence[str], terms: Sequence[Floats], labels: NDArray[np.int64]) -> Separation | None:
    if len(terms) < 2 or not tied(terms[0], terms[1], labels):
        return None
    apart = terms[0] - terms[1]
    difference, error = float(apart.mean()), standard_error(apart, labels)
    if error is None:
        return None
    times = (POWER_ERRORS * error / difference) ** 2 if difference > 0 else math.inf
    needed = math.ceil(len(labels) * (times - 1)) if times <= MOST_TIMES + 1 else None
    return Separation(names[0], names[1], difference, error, needed)
