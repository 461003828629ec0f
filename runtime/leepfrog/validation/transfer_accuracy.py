"""Transfer accuracies to validate scores against: retrained and few-shot heads on held-out images."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from leepfrog.draws import members_of, shuffled
from leepfrog.scoring.held_out import held_out_softmax, unit_coordinates
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample

Floats = NDArray[np.float64]

# Candidate penalties, to be multiplied by 1 / N, for features with a root mean square deviation of 1; strongest first,
# so that each fit starts from the previous solution.
PENALTIES = 10.0 ** np.arange(3.0, -1.5, -1.0)
FOLDS = 5
TOLERANCE = 1e-4
# Shrinkage of the Mahalanobis covariance towards the identity, since few images estimate it poorly.
SHRINKAGE = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class RetrainedHead:
    """A retrained head.

    Attributes:
        correct: true for each held-out image that is classified correctly, [M].
        penalty: penalty chosen by cross-validation, times N.
    """

    correct: NDArray[np.bool_]
    penalty: float

    @property
    def accuracy(self) -> float:
        """Accuracy on the held-out images, from 0 to 1."""
        return float(self.correct.mean())


def retrained_head(
    train: FeatureSample, features: NDArray[np.floating], labels: NDArray[np.int64], seed: int = 0
) -> RetrainedHead:
    """Fit a softmax regression to features, with the penalty chosen by 5-fold cross-validated likelihood.

    Args:
        train: features and labels of the training images.
        features: features of the held-out images, [M, D].
        labels: class indices of the held-out images, [M], numbered as in `train`.
        seed: random seed of the folds.
    """
    n = len(train)
    penalty = held_out_softmax(train, PENALTIES.tolist(), FOLDS, seed).strength
    x, scale = unit_coordinates(train)
    fit = fit_softmax(x, train.labels, np.full(n, 1 / n), train.n_target, penalty / n, TOLERANCE)
    # Transform weights back from principal coordinates; the head has no component outside of them.
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
    """Return the mean accuracies over episodes of the nearest class mean, by Euclidean and by Mahalanobis distance.

    Each episode draws `shots` training images per class, or all if there are fewer. The Mahalanobis distance uses the
    within-class covariance of the drawn images, shrunk halfway towards the identity times its mean variance.

    Args:
        train: features and labels of the training images to draw from.
        features: features of the held-out images, [M, D].
        labels: class indices of the held-out images, [M], numbered as in `train`.
        shots: number of images per class.
        episodes: number of draws.
        seed: random seed of the draws; the same seed draws the same images for all models.
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
    """Return class means [C, D] times the inverse of the shrunk covariance of deviations [n, D]."""
    n, width = apart.shape
    mean_variance = float((apart**2).sum()) / (n * width)
    if not mean_variance:  # one image per class
        return means
    ridge = SHRINKAGE * mean_variance
    gram = (1 - SHRINKAGE) / n * (apart @ apart.T)
    inner = np.linalg.solve(ridge * np.eye(n) + gram, apart @ means.T)
    return np.asarray((means - (1 - SHRINKAGE) / n * (apart.T @ inner).T) / ridge)
