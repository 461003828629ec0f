"""Leave-one-out k-nearest-neighbour accuracy in feature space."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.errors import ArrayError
from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import BLOCK, FeatureSample
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.subsample import MOST_IMAGES, drawn_in_proportion, spread_terms


def knn(features: ArrayLike, labels: ArrayLike, k: int = 1) -> Score:
    """Compute the leave-one-out accuracy of k-nearest-neighbor classification by Euclidean distance.

    The most frequent class among the neighbors is predicted; ties go to the lowest label, as in scikit-learn. An image
    is left out by position, so duplicates of it remain its neighbors.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        k: number of neighbors, from 1 to N - 1.

    Returns:
        Score, the mean of zeros and ones, with diagnostics `k` and `n_used` (number of images).

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or `k` out of range.

    >>> knn([[0.0], [0.1], [1.0], [1.1], [1.4]], ["cat", "cat", "dog", "dog", "cat"]).value
    0.8
    """
    return score_knn(FeatureSample.of(labels, features), k)


@of_features("accuracy of the nearest other image", held_out=True)
def score_knn(sample: FeatureSample, k: int = 1) -> Score:
    """Compute `knn` of a checked sample; raise ArrayError if another argument is invalid."""
    if not 1 <= k < len(sample):
        raise ArrayError(f"k must be from 1 to {len(sample) - 1} (number of images minus 1), not {k}")
    # All pairs of a larger set would take minutes.
    drawn = drawn_in_proportion(sample.labels, max(MOST_IMAGES, k + 1))
    part = sample if len(drawn) == len(sample) else sample.part(drawn)
    labels = part.labels
    hits = labels == predictions(part, k)
    diagnostics = {"k": k, "n_used": len(drawn)}
    score = mean_of("knn", hits.astype(np.float64), labels, sample.features.shape[1], diagnostics)
    return dataclasses.replace(spread_terms(score, drawn, sample.labels), n_samples=len(sample))


def predictions(sample: FeatureSample, k: int) -> NDArray[np.int64]:
    """Return the class predicted for each image from the others, [N]."""
    n, labels = len(sample), sample.labels
    squares = np.empty(n)
    for at, rows in sample.blocks():
        squares[at] = ((rows - sample.mean) ** 2).sum(axis=1)
    predicted = np.empty(n, np.int64)
    scratch = np.empty((min(BLOCK, n), n))  # reused, to avoid holding two blocks at a time
    for at, rows in sample.blocks():
        # Centerd features have smaller squares, so that small distances lose less precision in the difference.
        twice = 2 * (rows - sample.mean)
        distances = scratch[: len(rows)]
        for others, columns in sample.blocks():  # up to a constant per row
            distances[:, others] = squares[others] - twice @ (columns - sample.mean).T
        distances[np.arange(len(rows)), np.arange(n)[at]] = np.inf
        if k == 1:
            predicted[at] = labels[distances.argmin(axis=1)]
            continue
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        votes = np.zeros((len(rows), int(labels.max()) + 1), np.int64)
        np.add.at(votes, (np.arange(len(rows))[:, None], labels[nearest]), 1)
        predicted[at] = votes.argmax(axis=1)
    return predicted
