"""Leave-one-out k nearest neighbours in feature space."""

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
    """Accuracy of the k nearest other images by Euclidean distance, every image left out in turn.

    The most frequent class among them is predicted, of equally frequent ones the lowest label, as scikit-learn does. An
    image is left out by its place, so that copies of it stay its neighbours.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        k: neighbours, from 1 to N - 1.

    Returns:
        Score, the mean of zeros and ones, with diagnostics `k` and `n_used`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or no k neighbours.
    """
    return score_knn(FeatureSample.of(labels, features), k)


@of_features("accuracy of the nearest other image", held_out=True)
def score_knn(sample: FeatureSample, k: int = 1) -> Score:
    """`knn` of a checked sample; ArrayError where the other arguments are wrong."""
    if not 1 <= k < len(sample):
        raise ArrayError(f"k must be from 1 to {len(sample) - 1}, one less than the images, not {k}")
    # All pairs of more images would take minutes.
    drawn = drawn_in_proportion(sample.labels, max(MOST_IMAGES, k + 1))
    part = sample if len(drawn) == len(sample) else sample.part(drawn)
    labels = part.labels
    hits = labels == predictions(part, k)
    diagnostics = {"k": k, "n_used": len(drawn)}
    score = mean_of("knn", hits.astype(np.float64), labels, sample.features.shape[1], diagnostics)
    return dataclasses.replace(spread_terms(score, drawn, sample.labels), n_samples=len(sample))


def predictions(sample: FeatureSample, k: int) -> NDArray[np.int64]:
    """The class predicted for each image by the others, [N]."""
    n, labels = len(sample), sample.labels
    squares = np.empty(n)
    for at, rows in sample.blocks():
        squares[at] = ((rows - sample.mean) ** 2).sum(axis=1)
    predicted = np.empty(n, np.int64)
    scratch = np.empty((min(BLOCK, n), n))  # once: a new one for each block would be allocated before the last is freed
    for at, rows in sample.blocks():
        # Of centred features, whose squares are smaller, so that less of a small distance is lost in the difference.
        twice = 2 * (rows - sample.mean)
        distances = scratch[: len(rows)]
        for others, columns in sample.blocks():  # up to a constant of the row
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
