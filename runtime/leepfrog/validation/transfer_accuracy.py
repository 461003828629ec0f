"""What scores are held against: heads that are retrained, or made from a few images, judged on images held out."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from leepfrog.draws import members_of, shuffled
from leepfrog.scoring.held_out import held_out_softmax, unit_coordinates
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample

Floats = NDArray[np.float64]

# Penalties that are tried, times 1 / N, on features whose root mean square deviation is 1; strongest first, so that
# each fit begins where the one before ended.
PENALTIES = 10.0 ** np.arange(3.0, -1.5, -1.0)
FOLDS = 5
TOLERANCE = 1e-4
# The share of the identity in the covariance of a Mahalanobis head: a few images say little of it.
SHRINKAGE = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class RetrainedHead:
    """A retrained head.

    Attributes:
        correct: which of the M images held out it is right about, [M].
        penalty: the one chosen by cross-validation, times N.
    """

    correct: NDArray[np.bool_]
    penalty: float

    @property
    def accuracy(self) -> float:
        """On the images held out, from 0 to 1."""
        return float(self.correct.mean())


def retrained_head(
    train: FeatureSample, features: NDArray[np.floating], labels: NDArray[np.int64], seed: int = 0
) -> RetrainedHead:
    """Softmax regression on a model's features, its penalty chosen by the likelihood of 5 folds of the training images.

    Args:
        train: features and labels to fit to.
        features: of the images held out, [M, D].
        labels: their classes [M], numbered as in `train`.
        seed: of the folds.
    """
    n = len(train)
    penalty = held_out_softmax(train, PENALTIES.tolist(), FOLDS, seed).strength
    x, scale = unit_coordinates(train)
    fit = fit_softmax(x, train.labels, np.full(n, 1 / n), train.n_target, penalty / n, TOLERANCE)
    # Back from principal coordinates, outside of which the head has no part.
    weights = train.centered.T @ (train.coordinates / train.variances @ fit.theta[:-1]) / scale
    logits = (features / train.unit - train.x.mean(axis=0)) @ weights + fit.theta[-1]
    return RetrainedHead(logits.argmax(axis=1) == labels, penalty)


def few_shot_accuracy(
    train: FeatureSample,
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    shots: int,
    episodes: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Accuracies of the nearest class mean, by Euclidean and by Mahalanobis distance, mean over episodes.

    Each episode draws `shots` training images of every class (or all that it has). The Mahalanobis distance is by the
    covariance within classes of the images drawn, half of it replaced by the identity times its mean variance.

    Args:
        train: features and labels to draw from.
        features: of the images held out, [M, D].
        labels: their classes [M], numbered as in `train`.
        shots: images of a class.
        episodes: how many draws.
        seed: of the draws; models that get the same see the same images.
    """
    rng = np.random.default_rng(seed)
    x = train.centered
    queries = features / train.unit - train.x.mean(axis=0)
    members = members_of(train.labels, train.n_target)
    accuracies = np.zeros(2)
    for _ in range(episodes):
        drawn = [of_class[:shots] for of_class in shuffled(members, rng)]
        means = np.stack([x[rows].mean(axis=0) for rows in drawn])
        apart = np.concatenate([x[rows] - mean for rows, mean in zip(drawn, means, strict=True)])
        for i, directions in enumerate((means, _mahalanobis(means, apart))):
            logits = queries @ directions.T - (means * directions).sum(axis=1) / 2
            accuracies[i] += (logits.argmax(axis=1) == labels).mean()
    return float(accuracies[0] / episodes), float(accuracies[1] / episodes)


def _mahalanobis(means: Floats, apart: Floats) -> Floats:
    """Class means [C, D] times the inverse of the shrunk covariance of deviations [n, D], in the deviations' span."""
    n, width = apart.shape
    mean_variance = float((apart**2).sum()) / (n * width)
    if not mean_variance:  # one image a class
        return means
    ridge = SHRINKAGE * mean_variance
    gram = (1 - SHRINKAGE) / n * (apart @ apart.T)
    inner = np.linalg.solve(ridge * np.eye(n) + gram, apart @ means.T)
    return np.asarray((means - (1 - SHRINKAGE) / n * (apart.T @ inner).T) / ridge)
