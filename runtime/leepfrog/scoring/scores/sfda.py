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

# How fast the regularisation falls with the largest eigenvalue within classes.
RATE = 5.0


def sfda(features: ArrayLike, labels: ArrayLike) -> Score:
    """Mean log-likelihood of a regularised Fisher discriminant that has been made harder for itself.

        SFDA = 1/N sum_i log softmax( m_c' S^-1 x'_i - m_c' S^-1 m_c / 2 + log(n_c / N) )_{y_i}
        S = (1 - s) S_w + s tr(S_w) / D I,  s = max( exp(-5 lambda_max(S_w)), 1e-10 )
        x'_i = q_i x_i + (1 - q_i) mean_{c != y_i} m_c,  q_i = softmax(p_i)_{y_i}

    with S_w the covariance within classes. p_i are the probabilities of a first discriminant on the features as they
    are, and the second, with means m_c and S_w of the x'_i but the same s, gives the score (ConfMix). The more images
    the first is sure of, the less they are mixed. It judges images that it was fitted to: for many features and few
    images it saturates near 0. s depends on the features' scale.

    Args:
        features: [N, D]; left as they are.
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `shrinkage` (s). The standard error takes the discriminants as given.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_sfda(FeatureSample.of(labels, features))


@of_features("a discriminant made hard for itself; says nothing where features outnumber images")
def score_sfda(sample: FeatureSample) -> Score:
    """`sfda` of a checked sample.

    In principal coordinates, outside of which neither discriminant has anything to tell, divided by the features' unit,
    so that no square overflows; only s needs their scale.
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
    """exp(-5 lambda_max(S_w)) of the features as they are, at least LEAST."""
    x = sample.coordinates
    within = within_classes(sample, x, sample.class_means(x))
    return max(float(np.exp(-RATE * _largest_eigenvalue(within, sample.unit))), LEAST)


def _largest_eigenvalue(matrix: Floats, unit: float) -> float:
    """Of a covariance of features divided by `unit`, theirs; a lower bound where that gives the least shrinkage."""
    bound = float(np.diagonal(matrix).max(initial=0.0)) * unit * unit
    if not matrix.size or np.exp(-RATE * bound) <= LEAST:
        return bound
    last = len(matrix) - 1
    return float(eigh(matrix, eigvals_only=True, subset_by_index=[last, last])[0]) * unit * unit
