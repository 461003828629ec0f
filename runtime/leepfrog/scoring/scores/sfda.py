"""Self-challenging Fisher discriminant analysis (SFDA).

Source: W. Shao, X. Zhao, Y. Ge, Z. Zhang, L. Yang, X. Wang, Y. Shan, P. Luo, "Not All Models Are Equal: Predicting
Model Transferability in a Self-challenging Fisher Space", ECCV 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.discriminant import LEAST, Discriminant, within_classes
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.softmax import log_softmax

# Rate at which the shrinkage decays with the largest eigenvalue of the covariance within classes.
RATE = 5.0


def sfda(features: ArrayLike, labels: ArrayLike) -> Score:
    """Compute the mean log-likelihood of a regularized Fisher discriminant on a problem that it made harder itself.

        SFDA = 1/N sum_i log softmax( m_c' S^-1 x'_i - m_c' S^-1 m_c / 2 + log(n_c / N) )_{y_i}
        S = (1 - s) S_w + s tr(S_w) / D I,  s = max( exp(-5 lambda_max(S_w)), 1e-10 )
        x'_i = q_i x_i + (1 - q_i) mean_{c != y_i} m_c,  q_i = softmax(p_i)_{y_i}

    with S_w the covariance within classes. p_i are the probabilities of a first discriminant on the original features.
    A second one, with m_c and S_w of the x'_i but the same s, gives the score (ConfMix). The more certain the first one
    is of an image, the less the image is mixed. The discriminant is evaluated on the images it was fitted to, so the
    score saturates near 0 with many features and few images. s depends on the scale of the features.

    Args:
        features: [N, D]; not rescaled.
        labels: [N] integers or strings.

    Returns:
        Score with the diagnostic `shrinkage` (s). The standard error treats the discriminants as fixed.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> separate, mixed = [[0.0], [0.1], [1.0], [1.1]], [[0.0], [1.0], [0.1], [1.1]]
    >>> sfda(separate, labels) > sfda(mixed, labels)
    True
    """
    return score_sfda(FeatureSample.of(labels, features))


@of_features("a self-challenging discriminant; uninformative if features outnumber images")
def score_sfda(sample: FeatureSample) -> Score:
    """Compute `sfda` of a checked sample.

    Principal coordinates are sufficient for both discriminants. They are divided by the features' unit, so that squares
    cannot overflow; only s needs the original scale.
    """
    width = sample.features.shape[1]
    x, at_label = sample.coordinates, (np.arange(len(sample)), sample.labels)
    shrinkage = self_chosen_shrinkage(sample)
    first = Discriminant.fit(sample, x, width, shrinkage).log_probs(x)
    softened = np.exp(log_softmax(np.exp(first)))[at_label][:, None]
    means = sample.class_means(x)
    others = (means.sum(axis=0) - means) / (sample.n_target - 1)
    mixed = softened * x + (1 - softened) * others[sample.labels]
    second = Discriminant.fit(sample, mixed, width, shrinkage).log_probs(mixed)
    return mean_of("sfda", second[at_label], sample.labels, width, {"shrinkage": shrinkage})


def self_chosen_shrinkage(sample: FeatureSample) -> float:
    """Return exp(-5 lambda_max(S_w)) of the unscaled features, at least LEAST."""
    x = sample.coordinates
    within = within_classes(sample, x, sample.class_means(x))
    return max(float(np.exp(-RATE * _largest_eigenvalue(within, sample.unit))), LEAST)


def _largest_eigenvalue(matrix: Floats, unit: float) -> float:
    """Return the largest eigenvalue of the features' covariance, given that of features divided by `unit`.

    A lower bound is returned if it already gives the minimum shrinkage.
    """
    bound = float(np.diagonal(matrix).max(initial=0.0)) * unit * unit
    if not matrix.size or np.exp(-RATE * bound) <= LEAST:
        return bound
    last = len(matrix) - 1
    return float(eigh(matrix, eigvals_only=True, subset_by_index=[last, last])[0]) * unit * unit
