"""Scores that are weighted sums of parts, each scaled to 0..1 over the compared models."""

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
    """Return the score of a single model: the weighted sum of its unscaled parts, which are also its diagnostics."""
    by_name = {part.name: part for part in parts}
    terms = np.sum([weight * by_name[part].terms for part, weight in weights.items()], axis=0)
    values = {part.name: part.value for part in parts}
    score = mean_of(name, terms, labels, parts[0].n_source, {**values, **diagnostics})
    return dataclasses.replace(score, parts=by_name)


def scaled_among(weights: Mapping[str, float], scores: Sequence[Score], labels: NDArray[np.int64]) -> list[Score]:
    """Return the scores of several models on the same images: the weighted sums of their scaled parts.

    Each part is scaled to 0..1 over the models. A part that is equal for all models counts as 0.

    Args:
        weights: weight of each part, by name; negative if lower is better.
        scores: score of each model, with its parts.
        labels: class index of each image, [N].
    """
    totals = np.zeros((len(scores), len(labels)))
    for name, weight in weights.items():
        values = [score.parts[name].value for score in scores]
        low, high = min(values), max(values)
        # Differences between identical models that are due to rounding do not count.
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
