"""H-score with a shrunk covariance.

Sources: Y. Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
S. Ibrahim, N. Ponomareva, R. Mazumder, "Newer is not always better", 2021; O. Ledoit, M. Wolf, "A well-conditioned
estimator for large-dimensional covariance matrices", 2004.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score


def h_score(features: ArrayLike, labels: ArrayLike) -> Score:
    """How much of the features' variance lies between classes, in units of the features' own covariance.

        H = tr( S^-1 (1 - a) G ),  S = (1 - a) cov(f) + a mu I

    with mu = tr(cov(f)) / D, a the shrinkage of Ledoit and Wolf, and G the covariance, divided by N - 1, of the class
    means, each counting as often as its class has images. Without shrinkage S is singular for N <= D. Features that do
    not vary give 0.

    Args:
        features: [N, D].
        labels: [N] integers.

    Returns:
        Score without standard error, with diagnostics `shrinkage`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_h_score(Sample.of(labels, features=features))


def score_h_score(sample: Sample) -> Score:
    """`h_score` of a checked sample.

    In principal coordinates cov(f) is diagonal, and class means have no part outside of them.
    """
    assert sample.features is not None
    width = sample.features.shape[1]
    value = a = 0.0
    if len(sample.variances):
        a = shrinkage(sample)
        variances = sample.variances / len(sample)
        mu = variances.sum() / width
        between = sample.counts @ sample.class_means(sample.coordinates) ** 2 / (len(sample) - 1)
        shrunk = (1 - a) * variances + a * mu
        value = float((1 - a) * (between / shrunk).sum())
    return Score("h_score", value, None, len(sample), width, sample.n_target, {"shrinkage": a})


def shrinkage(sample: Sample) -> float:
    """Ledoit and Wolf's optimal weight of the multiple of the identity, from 0 to 1.

    With S = X'X / N: min(1, (sum_i |x_i|^4 / N - |S|^2) / N / (|S|^2 - tr(S)^2 / D)).
    """
    assert sample.features is not None
    n, width = sample.features.shape
    variances = sample.variances / n
    squared = float((variances**2).sum())
    spread = squared - float(variances.sum()) ** 2 / width
    noise = (float(((sample.coordinates**2).sum(axis=1) ** 2).sum()) / n - squared) / n
    if noise <= 0:
        return 0.0
    return 1.0 if noise >= spread else noise / spread
