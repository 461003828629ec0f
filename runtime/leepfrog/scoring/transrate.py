"""TransRate.

Source: L.-K. Huang et al., "Frustratingly Easy Transferability Estimation", ICML 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.sample import Floats, Sample
from leepfrog.scoring.score import Score

EPSILON = 1e-4


def transrate(features: ArrayLike, labels: ArrayLike, epsilon: float = EPSILON) -> Score:
    """How many nats coding the features takes less if the classes are known.

        TrR = R(Z) - sum_c n_c / N R(Z_c),  R(Z) = 1/2 log det(I + Z'Z / (n epsilon))

    for centred features Z [n, D]; Z_c are the rows of class c, centred by the mean of all as in the paper. `epsilon` is
    absolute: the score depends on the features' scale, and compares networks only as far as their scales agree.

    Args:
        features: [N, D].
        labels: [N] integers.
        epsilon: the squared distortion of the code.

    Returns:
        Score without standard error.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_transrate(Sample.of(labels, features=features), epsilon)


def score_transrate(sample: Sample, epsilon: float = EPSILON) -> Score:
    """`transrate` of a checked sample."""
    assert sample.features is not None
    z = sample.coordinates * sample.unit
    value = _rate(z, epsilon) if z.shape[1] else 0.0
    for label, count in enumerate(sample.counts):
        if z.shape[1]:
            value -= count / len(z) * _rate(z[sample.labels == label], epsilon)
    return Score("transrate", float(value), None, len(sample), sample.features.shape[1], sample.n_target)


def _rate(z: Floats, epsilon: float) -> float:
    n, width = z.shape
    gram = z @ z.T if n <= width else z.T @ z
    return float(np.linalg.slogdet(np.eye(len(gram)) + gram / (n * epsilon))[1]) / 2
