"""Gaussian Bhattacharyya coefficient.

Source: M. Pándy, A. Agostinelli, J. Uijlings, V. Ferrari, T. Mensink, "Transferability Estimation Using Bhattacharyya
Class Separability", CVPR 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.errors import ArrayError
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score

COMPONENTS = 64
# Of the mean variance: the least that a class may vary in a direction. A class with one image varies in none.
FLOOR = 1e-4


def gbc(features: ArrayLike, labels: ArrayLike, covariance: str = "spherical", n_components: int = COMPONENTS) -> Score:
    """Minus the overlap of classes, each taken for a Gaussian in the leading principal components.

        GBC = -sum_{i != j} exp(-D_B(i, j))
        D_B = 1/8 (mu_i - mu_j)' S^-1 (mu_i - mu_j) + 1/2 log( |S| / sqrt(|S_i| |S_j|) ),  S = (S_i + S_j) / 2

    over ordered pairs: -C (C - 1) for classes that are all alike, 0 for separate ones. A spherical covariance is v I
    with the mean variance v of the components, so log |S_i| = k log v_i; a diagonal one has each component's own.
    Variances are means of squares, at least FLOOR of the mean over all images and components.

    Args:
        features: [N, D].
        labels: [N] integers.
        covariance: "spherical" or "diagonal".
        n_components: the number k of principal components, as far as there are so many.

    Returns:
        Score without standard error, with diagnostics `n_components`, `n_classes_seen_once`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or another covariance.
    """
    return score_gbc(Sample.of(labels, features=features), covariance, n_components)


def score_gbc(sample: Sample, covariance: str = "spherical", n_components: int = COMPONENTS) -> Score:
    """`gbc` of a checked sample."""
    assert sample.features is not None
    if covariance not in ("spherical", "diagonal"):
        raise ArrayError(f"covariance must be spherical or diagonal, not {covariance!r}")
    z = sample.coordinates[:, :n_components]
    width = z.shape[1]
    n_target = sample.n_target
    value = -float(n_target * (n_target - 1))
    if width:
        means = sample.class_means(z)
        variances = sample.class_means((z - means[sample.labels]) ** 2)
        variances = np.maximum(variances, FLOOR * float((z**2).mean()))
        if covariance == "spherical":
            variances = np.repeat(variances.mean(axis=1, keepdims=True), width, axis=1)
        logs = np.log(variances).sum(axis=1)
        value = 0.0
        for i in range(n_target):
            both = (variances + variances[i]) / 2
            distance = ((means - means[i]) ** 2 / both).sum(axis=1) / 8
            distance += np.log(both).sum(axis=1) / 2 - (logs + logs[i]) / 4
            distance[i] = np.inf
            value -= float(np.exp(-distance).sum())
    diagnostics = {"n_components": width, "n_classes_seen_once": int((sample.counts == 1).sum())}
    return Score("gbc", value + 0.0, None, len(sample), sample.features.shape[1], n_target, diagnostics)
