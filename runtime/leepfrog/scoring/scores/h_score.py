"""H-score with a shrunk covariance.

Sources: Y. Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
S. Ibrahim, N. Ponomareva, R. Mazumder, "Newer is not always better", 2021; O. Ledoit, M. Wolf, "A well-conditioned
estimator for large-dimensional covariance matrices", 2004.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score, with_influence


def h_score(features: ArrayLike, labels: ArrayLike) -> Score:
    """Compute the variance of features between classes, relative to their overall covariance.

        H = tr( S^-1 (1 - a) G ),  S = (1 - a) cov(f) + a mu I

    with mu = tr(cov(f)) / D, a the Ledoit-Wolf shrinkage, and G the covariance of the class means (divided by N - 1),
    weighted by class size. Without shrinkage, S is singular for N <= D. The score is 0 if all features are constant.

    Args:
        features: [N, D].
        labels: [N] integers or strings.

    Returns:
        Score with the diagnostic `shrinkage`, which the standard error treats as fixed.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> import numpy as np
    >>> labels = np.repeat([0, 1, 2], 4)
    >>> h_score(np.eye(3)[labels], labels) > 1 > h_score(np.eye(3)[[0, 1, 2] * 4], labels)
    True
    """
    return score_h_score(FeatureSample.of(labels, features))


@of_features("class separation, by covariance")
def score_h_score(sample: FeatureSample) -> Score:
    """Compute `h_score` of a checked sample.

    In principal coordinates, cov(f) is diagonal, and the class means lie in their span.
    """
    width = sample.features.shape[1]
    value = a = 0.0
    influence = np.zeros(len(sample))
    if len(sample.variances):
        a = shrinkage(sample)
        variances = sample.variances / len(sample)
        mu = variances.sum() / width
        means = sample.class_means(sample.coordinates)
        between = sample.counts @ means**2 / (len(sample) - 1)
        shrunk = (1 - a) * variances + a * mu
        value = float((1 - a) * (between / shrunk).sum())
        influence = _influence(sample, means, shrunk, a)
    return with_influence("h_score", value, influence, sample.labels, width, {"shrinkage": a})


def _influence(sample: FeatureSample, means: Floats, shrunk: Floats, a: float) -> Floats:
    """Return N times the loss in score when each image is removed, [N], up to a constant, at fixed shrinkage.

    Removing image x of class y subtracts (1 - a) x x' / N from S, whose inverse then follows from the Sherman-Morrison
    formula, and moves the mean m_y away from x. (The derivative is uninformative if D exceeds N, because all leverages
    are then nearly equal.)
    """
    n = len(sample)
    x, counts = sample.coordinates, sample.counts
    rows = np.arange(n), sample.labels
    others = np.maximum(counts[sample.labels] - 1, 1)
    along = x @ (means / shrunk).T  # x' S^-1 m_c
    leverage = (x**2 / shrunk).sum(axis=1)  # x' S^-1 x
    squares = (means**2 / shrunk).sum(axis=1)  # m_c' S^-1 m_c
    along_m = along[rows]  # m: the mean of the image's own class
    m_square = squares[sample.labels]
    # The class mean without x is m + (m - x) / (n_c - 1).
    moved = along_m + (along_m - leverage) / others
    moved_square = m_square + 2 * (m_square - along_m) / others + (m_square - 2 * along_m + leverage) / others**2
    gain = (1 - a) / n / np.maximum(1 - (1 - a) / n * leverage, np.finfo(float).eps)
    total = counts @ squares + gain * (along**2 @ counts)
    total -= counts[sample.labels] * (m_square + gain * along_m**2)
    total += others * (moved_square + gain * moved**2)
    total -= leverage * (1 + gain * leverage) / (n - 1)  # the overall mean moves as well
    return np.asarray(-(1 - a) * total)


def shrinkage(sample: FeatureSample) -> float:
    """Return the Ledoit-Wolf optimal weight of the multiple of the identity, from 0 to 1.

    With S = X'X / N: min(1, (sum_i |x_i|^4 / N - |S|^2) / N / (|S|^2 - tr(S)^2 / D)).
    """
    n, width = sample.features.shape
    variances = sample.variances / n
    squared = float((variances**2).sum())
    spread = squared - float(variances.sum()) ** 2 / width
    noise = (float(((sample.coordinates**2).sum(axis=1) ** 2).sum()) / n - squared) / n
    if noise <= 0:
        return 0.0
    return 1.0 if noise >= spread else noise / spread
