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
# The number of pairs is quadratic in the number of images; the paper's experiments use 500 images.
MAX_IMAGES = 2000


def parc(features: ArrayLike, labels: ArrayLike, n_components: int = COMPONENTS, seed: int = 0) -> Score:
    """Compute 100 times the rank correlation between the dissimilarities of image pairs in features and in labels.

    It is Spearman's rho over all pairs of images between 1 - corr(f_i, f_j), with features reduced to their leading
    principal components, and 1 - corr(onehot_i, onehot_j), which is 0 within a class and constant across classes. An
    image whose reduced features are all equal has no correlation, which counts as 0. Correlations over components
    depend on the signs of the components, which are arbitrary: each component is flipped so that its largest weight is
    positive, as in scikit-learn's PCA.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        n_components: maximum number of principal components.
        seed: random seed for drawing 2,000 images, in proportion to class size, if there are more.

    Returns:
        Score with the diagnostic `n_used` (number of images drawn); 0 if the correlation is undefined. The standard
        error treats the ranks of pairs as fixed, and images that were not drawn as average.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> import numpy as np
    >>> labels, rng = np.repeat([0, 1, 2], 20), np.random.default_rng(0)
    >>> parc(np.eye(3)[labels] + rng.normal(0, 0.2, (60, 3)), labels) > 50
    True
    """
    return score_parc(FeatureSample.of(labels, features), n_components, seed)


@of_features("class separation, by the rank correlation of image pairs")
def score_parc(sample: FeatureSample, n_components: int = COMPONENTS, seed: int = 0) -> Score:
    """Compute `parc` of a checked sample."""
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
        # `apart` has only two values, which correlate as their ranks do.
        ranks = _ranks(unlike)
        value = 100 * float(np.corrcoef(ranks, apart)[0, 1])
        influence[chosen] = _influence(ranks, apart.astype(np.float64), len(chosen)) * len(sample) / len(chosen)
    diagnostics = {"n_used": len(chosen)}
    return with_influence("parc", value, influence, sample.labels, sample.features.shape[1], diagnostics)


def _influence(a: Floats, b: Floats, n: int) -> Floats:
    """Return derivatives of 100 times the correlation of a and b, over pairs of n images, by image weights, [n].

    The correlation of standardized values changes by a b - r (a^2 + b^2) / 2 with the weight of a pair. Each image is
    in n - 1 pairs, each of which it shares with another image.
    """
    a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    square = np.zeros((n, n))
    square[np.triu_indices(n, 1)] = a * b - (a * b).mean() * (a**2 + b**2) / 2
    return np.asarray(200 * (square.sum(axis=0) + square.sum(axis=1)) / (n - 1))


def _ranks(values: Floats) -> Floats:
    """Return ranks, with ties sharing their mean rank; scipy.stats is avoided because it takes a second to import."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])
