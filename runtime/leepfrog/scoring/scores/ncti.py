"""Neural collapse informed transferability index (NCTI).

Source: Z. Wang, Y. Luo, L. Zheng, Z. Huang, M. Baktashmotlagh, "How Far Pre-trained Models Are from Neural Collapse on
the Target Dataset Informs their Transferability", ICCV 2023.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.discriminant import LEAST, Discriminant
from leepfrog.scoring.parts import scaled_among, sum_of
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score, mean_of, with_influence

COMPONENTS, LEADING = 64, 32
WEIGHTS = {"spread": 1.0, "certainty": 1.0, "collapse": -1.0}


def ncti(features: ArrayLike, labels: ArrayLike) -> Score:
    """Measure how close features are to neural collapse: separate classes, each concentrated in one point.

        spread = |Z|_*,  certainty = 1/N sum_i p(y_i | x_i),  collapse = log sum_c |P_c|_*
        NCTI = spread + certainty - collapse

    with the nuclear norms of Z, the images in the C - 1 directions of a linear discriminant, and of P_c, its
    predictions for the images of class c. The discriminant is fitted to the first 64 principal components; its
    shrinkage is exp(-sum of the first 32 variances), at least 1e-10. A ranking scales each part to 0..1 over its
    models, as the authors' code does; for a single model, the parts are added unscaled.

    Args:
        features: [N, D]; not rescaled, because the shrinkage depends on their scale.
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `spread`, `certainty`, `collapse` and `shrinkage`. The standard error treats the
        discriminant as fixed.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> separate, mixed = [[0.0], [0.1], [1.0], [1.1]], [[0.0], [1.0], [0.1], [1.1]]
    >>> ncti(separate, labels) > ncti(mixed, labels)
    True
    """
    return score_ncti(FeatureSample.of(labels, features))


@of_features("how close the classes are to neural collapse", among=functools.partial(scaled_among, WEIGHTS))
def score_ncti(sample: FeatureSample) -> Score:
    """Compute `ncti` of a checked sample."""
    n, width, labels = len(sample), sample.features.shape[1], sample.labels
    x = sample.coordinates[:, :COMPONENTS]
    leading = float(sample.variances[:LEADING].sum()) / (n - 1)
    shrinkage = max(float(np.exp(-leading * sample.unit * sample.unit)), LEAST) if leading else 1.0
    discriminant = Discriminant.fit(sample, x, max(x.shape[1], 1), shrinkage)
    probs = np.exp(discriminant.log_probs(x))
    spread, of_spread = _nuclear_norm(_projected(sample, x, discriminant.covariance, shrinkage))
    total, of_total = 0.0, np.zeros(n)
    for c in range(sample.n_target):
        norm, of_total[labels == c] = _nuclear_norm(probs[labels == c])
        total += norm
    parts = [
        with_influence("spread", spread, n * of_spread, labels, width, {}),
        mean_of("certainty", probs[np.arange(n), labels], labels, width, {}),
        with_influence("collapse", float(np.log(total)), n * of_total / total, labels, width, {}),
    ]
    return sum_of("ncti", WEIGHTS, parts, labels, {"shrinkage": shrinkage})


def _projected(sample: FeatureSample, x: Floats, within: Floats | None, shrinkage: float) -> Floats:
    """Project centered x [N, r] onto the C - 1 directions of the discriminant, scaled to unit variance within classes.

    As in scikit-learn, which the authors use, the covariance between classes is the total one, also shrunk, minus the
    one within classes.
    """
    if within is None:
        return np.zeros((len(x), 0))
    total = x.T @ x / len(x)
    shrunk = (1 - shrinkage) * total
    shrunk[np.diag_indices_from(shrunk)] += shrinkage * np.trace(total) / len(total)
    _, directions = eigh(shrunk - within, within)
    return np.asarray(x @ directions[:, ::-1][:, : sample.n_target - 1])


def _nuclear_norm(rows: Floats) -> tuple[float, Floats]:
    """Return the sum of singular values of rows [n, k], and its derivatives with respect to row weights, [n].

    With weights W it is tr (R' W R)^(1/2), whose derivative for row r is r' (R' R)^(-1/2) r / 2: half the sum over
    directions of the row's squared share times the singular value.
    """
    u, values, _ = np.linalg.svd(rows, full_matrices=False)
    return float(values.sum()), np.asarray((u**2 @ values) / 2)
