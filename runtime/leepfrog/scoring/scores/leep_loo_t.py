"""Leave-one-out LEEP with a temperature fitted to each model."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.scoring.definition import of_probs
from leepfrog.scoring.sample import ProbSample
from leepfrog.scoring.score import Score
from leepfrog.scoring.scores.leep_loo import loo_terms, score_leep_loo

# Temperatures to try first; the distance to the best one's neighbours is then halved (on a log scale) HALVINGS times.
TEMPERATURES = 2.0 ** np.arange(-3.0, 3.5, 1.0)
HALVINGS = 4


def leep_loo_t(probs: ArrayLike, labels: ArrayLike) -> Score:
    """Compute leave-one-out LEEP of softmax(log theta / T), with the temperature T that maximizes it.

    LEEP penalizes models that were trained to be under-confident, whose softmax spreads over many classes even if they
    distinguish these well. One temperature per model, chosen by the held-out likelihood, corrects this. (Plain LEEP
    would choose the temperature that memorizes the labels best.) T is between 1/8 and 8, accurate to about 5 %.

    Arguments and errors are those of `leep`.

    Returns:
        Score with the diagnostics of `leep_loo`, and `temperature`; below 1, the model was under-confident.

    >>> probs = [[0.6, 0.4], [0.6, 0.4], [0.4, 0.6], [0.4, 0.6]]
    >>> score = leep_loo_t(probs, ["cat", "cat", "dog", "dog"])
    >>> score.diagnostics["temperature"] < 1
    True
    """
    return score_leep_loo_t(ProbSample.of(labels, probs))


@of_probs("LOO-LEEP with one temperature per model, which corrects under-confidence", held_out=True)
def score_leep_loo_t(sample: ProbSample) -> Score:
    """Compute `leep_loo_t` of a checked sample."""
    with np.errstate(divide="ignore"):
        logs = np.log(sample.probs)
    logs -= logs.max(axis=1, keepdims=True)
    means: dict[float, float] = {}

    def mean_at(temperature: float) -> float:
        if temperature not in means:
            means[temperature] = float(loo_terms(tempered(temperature)).mean())
        return means[temperature]

    def tempered(temperature: float) -> ProbSample:
        return dataclasses.replace(sample, probs=_tempered(logs, temperature))

    best = max(map(float, TEMPERATURES), key=mean_at)
    factor = float(TEMPERATURES[1] / TEMPERATURES[0])
    for _ in range(HALVINGS):
        factor **= 0.5
        candidates = (best, best / factor, best * factor)
        best = max((t for t in candidates if TEMPERATURES[0] <= t <= TEMPERATURES[-1]), key=mean_at)
    score = score_leep_loo(tempered(best))
    return dataclasses.replace(score, name="leep_loo_t", diagnostics={**score.diagnostics, "temperature": best})


def _tempered(logs: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Return softmax(logs / temperature) of logarithms with row maxima of 0, in their precision."""
    powers = np.exp(logs / logs.dtype.type(temperature))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
