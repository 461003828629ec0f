"""Leave-one-out k nearest neighbours in feature space."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.errors import ArrayError
from leepfrog.scoring.drawn import drawn_in_proportion, spread_terms
from leepfrog.scoring.sample import Floats, Sample
from leepfrog.scoring.score import Score, mean_of

# Rows of the distance matrix held at a time.
BLOCK = 1024
# Of more images so many are drawn, class by class in proportion: all pairs would take minutes.
MAX_IMAGES = 5000


def knn(features: ArrayLike, labels: ArrayLike, k: int = 1) -> Score:
    """Accuracy of the k nearest other images by Euclidean distance, every image left out in turn.

    The most frequent class among them is predicted, of equally frequent ones the lowest label, as scikit-learn does. An
    image is left out by its place, so that copies of it stay its neighbours.

    Args:
        features: [N, D].
        labels: [N] integers.
        k: neighbours, from 1 to N - 1.

    Returns:
        Score, the mean of zeros and ones, with diagnostics `k` and `n_used`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or no k neighbours.
    """
    return score_knn(Sample.of(labels, features=features), k)


def score_knn(sample: Sample, k: int = 1) -> Score:
    """`knn` of a checked sample."""
    assert sample.features is not None
    if not 1 <= k < len(sample):
        raise ArrayError(f"k must be from 1 to {len(sample) - 1}, one less than the images, not {k}")
    drawn = drawn_in_proportion(sample.labels, max(MAX_IMAGES, k + 1))
    labels = sample.labels[drawn]
    hits = labels == predictions(sample.coordinates[drawn], labels, k)
    diagnostics = {"k": k, "n_used": len(drawn)}
    found = mean_of("knn", hits.astype(np.float64), labels, sample.features.shape[1], diagnostics)
    return dataclasses.replace(spread_terms(found, drawn, len(sample)), n_samples=len(sample))


def predictions(x: Floats, labels: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The class predicted for each point of x [N, r] by the others, [N]."""
    squares = (x * x).sum(axis=1)
    found = np.empty(len(x), np.int64)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = squares - 2 * (x[rows] @ x.T)  # but for a constant of the row
        n = len(distances)
        distances[np.arange(n), np.arange(start, start + n)] = np.inf
        if k == 1:
            found[rows] = labels[distances.argmin(axis=1)]
            continue
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        votes = np.zeros((n, int(labels.max()) + 1), np.int64)
        np.add.at(votes, (np.arange(n)[:, None], labels[nearest]), 1)
        found[rows] = votes.argmax(axis=1)
    return found
