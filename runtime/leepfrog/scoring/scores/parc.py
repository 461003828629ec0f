"""PARC: pairwise annotation representation comparison.

Source: D. Bolya, R. Mittapalli, J. Hoffman, "Scalable Diverse Model Selection for Accessible Transfer Learning",
NeurIPS 2021.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score, with_influence
from leepfrog.scoring.subsample import drawn_in_proportion

COMPONENTS = 32
# Pairs are quadratic in the images; the paper's own experiments use 500.
MAX_IMAGES = 2000


def parc(features: ArrayLike, labels: ArrayLike, n_components: int = COMPONENTS, seed: int = 0) -> Score:
    """Rank correlation, times 100, of how unlike images are in feature space with how unlike their labels are.

    Spearman's rho over all pairs of images of 1 - corr(f_i, f_j), features reduced to their leading principal
    components, and 1 - corr(onehot_i, onehot_j), which is 0 within a class and constant across classes. An image whose
    reduced features are all alike has no correlation; it counts as 0. Correlations over components hang on the
    components' signs, which nothing in the data decides: each is turned as scikit-learn's PCA does, so that the
    feature that weighs most in it does so positively.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        n_components: principal components, as far as there are so many.
        seed: of the MAX_IMAGES images, class by class in proportion, that are drawn where there are more.

    Returns:
        Score with diagnostics `n_used`. 0 where a correlation does not exist. The standard error takes the pairs' ranks
        as given, and images that were not drawn for average.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_parc(FeatureSample.of(labels, features), n_components, seed)


@of_features("class separation, by the rank correlation of pairs")
def score_parc(sample: FeatureSample, n_components: int = COMPONENTS, seed: int = 0) -> Score:
    """`parc` of a checked sample."""
    chosen = drawn_in_proportion(sample.labels, MAX_IMAGES, seed)
    z = sample.coordinates[:, :n_components]
    weights = z.T @ sample.centered
    heaviest = weights[np.arange(len(weights)), np.abs(weights).argmax(axis=1)]
    z = (z * np.sign(heaviest))[chosen]
    z = z - z.mean(axis=1, keepdims=True) if z.shape[1] else z
    length = np.sqrt((z**2).sum(axis=1))
    floor = 1e-12 * float(length.max(initial=0))
    z = np.divide(z, length[:, None], out=np.zeros_like(z), where=length[:, None] > floor)
    first, second = np.triu_indices(len(z), 1)
    unlike = (1 - z @ z.T)[first, second]
    apart = sample.labels[chosen][first] != sample.labels[chosen][second]
    value, influence = 0.0, np.zeros(len(sample))
    if apart.any() and not apart.all() and np.ptp(unlike) > 0:
        # The ranks of two values are as good as the values.
        ranks = _ranks(unlike)
        value = 100 * float(np.corrcoef(ranks, apart)[0, 1])
        influence[chosen] = _influence(ranks, apart.astype(np.float64), len(chosen)) * len(sample) / len(chosen)
    diagnostics = {"n_used": len(chosen)}
    return with_influence("parc", value, influence, sample.labels, sample.features.shape[1], diagnostics)


def _influence(a: Floats, b: Floats, n: int) -> Floats:
    """Derivatives of 100 times the correlation of a and b, over the pairs of n images, by the images' weights, [n].

    A correlation of standardised values moves by a b - r (a^2 + b^2) / 2 with a pair's weight, and an image is in n - 1
    pairs, each of which it shares with another.
    """
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    square = np.zeros((n, n))
    square[np.triu_indices(n, 1)] = a * b - (a * b).mean() * (a**2 + b**2) / 2
    return np.asarray(200 * (square.sum(axis=0) + square.sum(axis=1)) / (n - 1))


def _ranks(values: Floats) -> Floats:
    """Ranks, equal values sharing the mean of theirs; scipy.stats, which has them, takes a second to import."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])
