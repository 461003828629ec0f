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
    """How near features are to neural collapse: classes apart from each other, each of them in one point.

        spread = |Z|_*,  certainty = 1/N sum_i p(y_i | x_i),  collapse = log sum_c |P_c|_*
        NCTI = spread + certainty - collapse

    with the nuclear norms of Z, the images in a linear discriminant's C - 1 directions, and of P_c, its predictions for
    the images of class c. It is fitted to the first 64 principal components, shrunk by exp(-their first 32 variances'
    sum), at least 1e-10. A ranking scales each part to 0..1 over its models, as the authors' program does; of one model
    by itself the parts are added as they are.

    Args:
        features: [N, D]; left as they are, since the shrinkage depends on their scale.
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `spread`, `certainty`, `collapse` and `shrinkage`. The standard error takes the
        discriminant as given.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_ncti(FeatureSample.of(labels, features))


@of_features("how near the classes are to neural collapse", among=functools.partial(scaled_among, WEIGHTS))
def score_ncti(sample: FeatureSample) -> Score:
    """`ncti` of a checked sample."""
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
    """x [N, r], which is centered, in the C - 1 directions of the discriminant, scaled so that classes vary by 1.

    As in scikit-learn, which the authors use: the covariance between classes is the total one, shrunk too, less that
    within.
    """
    if within is None:
        return np.zeros((len(x), 0))
    total = x.T @ x / len(x)
    shrunk = (1 - shrinkage) * total
    shrunk[np.diag_indices_from(shrunk)] += shrinkage * np.trace(total) / len(total)
    _, directions = eigh(shrunk - within, within)
    return np.asarray(x @ directions[:, ::-1][:, : sample.n_target - 1])


def _nuclear_norm(rows: Floats) -> tuple[float, Floats]:
    """The sum of singular values of rows [n, k], and its derivatives by the rows' weights, [n].

    With weights it is tr (R' W R)^(1/2), of which row r's derivative is r' (R' R)^(-1/2) r / 2: half of the sum over
    directions of its squared share times the singular value.
    """
    u, values, _ = np.linalg.svd(rows, full_matrices=False)
    return float(values.sum()), np.asarray((u**2 @ values) / 2)
