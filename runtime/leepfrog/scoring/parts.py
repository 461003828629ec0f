"""Scores that are sums of parts, each scaled to 0..1 over the models that are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.scoring.score import Score, mean_of


def sum_of(
    name: str,
    weights: Mapping[str, float],
    parts: Sequence[Score],
    labels: NDArray[np.int64],
    diagnostics: Mapping[str, int | float],
) -> Score:
    """The score of one model by itself: the weighted sum of its parts, unscaled; they are diagnostics too."""
    by_name = {part.name: part for part in parts}
    terms = np.sum([weight * by_name[part].terms for part, weight in weights.items()], axis=0)
    values = {part.name: part.value for part in parts}
    score = mean_of(name, terms, labels, parts[0].n_source, {**values, **diagnostics})
    return dataclasses.replace(score, parts=by_name)


def scaled_among(weights: Mapping[str, float], scores: Sequence[Score], labels: NDArray[np.int64]) -> list[Score]:
    """The scores of several models on the same images: the sum of their parts, each scaled to 0..1 over the models.

    A part that is the same for all models counts as 0.

    Args:
        weights: by part; negative where less is better.
        scores: of each model, with its parts.
        labels: the images' classes, [N].
    """
    totals = np.zeros((len(scores), len(labels)))
    for name, weight in weights.items():
        values = [score.parts[name].value for score in scores]
        low, high = min(values), max(values)
        # What rounding leaves of models that are alike is no difference.
        if high - low > 1e-12 * max(abs(low), abs(high)):
            terms = np.stack([score.parts[name].terms for score in scores])
            totals += weight * (terms - low) / (high - low)
    return [
        dataclasses.replace(
            mean_of(score.name, terms, labels, score.n_source, score.diagnostics),
            parts=score.parts,
            n_samples=score.n_samples,
        )
        for score, terms in zip(scores, totals, strict=True)
    ]
