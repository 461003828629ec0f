"""Gaussian Bhattacharyya coefficient.

Source: M. Pándy, A. Agostinelli, J. Uijlings, V. Ferrari, T. Mensink, "Transferability Estimation Using Bhattacharyya
Class Separability", CVPR 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.errors import ArrayError
from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score, with_influence

COMPONENTS = 64
# Minimum variance of a class in a direction, as a fraction of the mean variance; a class with one image has none.
FLOOR = 1e-4


def gbc(features: ArrayLike, labels: ArrayLike, covariance: str = "spherical", n_components: int = COMPONENTS) -> Score:
    """Compute minus the overlap of classes, each modeled as a Gaussian in the leading principal components.

        GBC = -sum_{i != j} exp(-D_B(i, j))
        D_B = 1/8 (mu_i - mu_j)' S^-1 (mu_i - mu_j) + 1/2 log( |S| / sqrt(|S_i| |S_j|) )
        S = (S_i + S_j) / 2

    over ordered pairs: -C (C - 1) for identical classes, 0 for separate ones. A spherical covariance is v I, with v the
    mean variance of the components, so that log |S_i| = k log v_i; a diagonal one has one variance per component.
    Variances are mean squares, floored at 1e-4 times the mean over all images and components.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        covariance: "spherical" or "diagonal".
        n_components: maximum number k of principal components.

    Returns:
        Score with diagnostics `n_components` and `n_classes_seen_once` (number of classes with one image). The standard
        error treats the components as fixed.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or an unknown covariance.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> f"{gbc([[0.0], [1.0], [0.0], [1.0]], labels):.2f}"
    '-2.00'
    >>> gbc([[0.0], [0.1], [1.0], [1.1]], labels) > -0.01
    True
    """
    return score_gbc(FeatureSample.of(labels, features), covariance, n_components)


@of_features("class separation, by the overlap of Gaussians")
def score_gbc(sample: FeatureSample, covariance: str = "spherical", n_components: int = COMPONENTS) -> Score:
    """Compute `gbc` of a checked sample; raise ArrayError if another argument is invalid."""
    if covariance not in ("spherical", "diagonal"):
        raise ArrayError(f"covariance must be spherical or diagonal, not {covariance!r}")
    z = sample.coordinates[:, :n_components]
    width = z.shape[1]
    n_target = sample.n_target
    value = -float(n_target * (n_target - 1))
    influence = np.zeros(len(sample))
    if width:
        means = sample.class_means(z)
        apart = z - means[sample.labels]
        variances = sample.class_means(apart**2)
        varies = variances > FLOOR * float((z**2).mean())
        variances = np.maximum(variances, FLOOR * float((z**2).mean()))
        if covariance == "spherical":
            variances = np.repeat(variances.mean(axis=1, keepdims=True), width, axis=1)
        by_mean, by_variance = np.zeros_like(means), np.zeros_like(means)
        logs = np.log(variances).sum(axis=1)
        value = 0.0
        for i in range(n_target):
            both = (variances + variances[i]) / 2
            squares = (means - means[i]) ** 2 / both
            distance = squares.sum(axis=1) / 8
            distance += np.log(both).sum(axis=1) / 2 - (logs + logs[i]) / 4
            distance[i] = np.inf
            overlap = np.exp(-distance)
            value -= float(overlap.sum())
            # Derivatives of the score by the mean and variances of class i; each pair counts twice.
            by_mean[i] = overlap @ ((means[i] - means) / both) / 2
            by_variance[i] = overlap @ ((1 - squares / 4) / both - 1 / variances[i]) / 2
        influence = _influence(sample, apart, by_mean, np.where(varies, by_variance, 0), covariance == "spherical")
    diagnostics = {"n_components": width, "n_classes_seen_once": int((sample.counts == 1).sum())}
    return with_influence("gbc", value, influence, sample.labels, sample.features.shape[1], diagnostics)


def _influence(sample: FeatureSample, apart: Floats, by_mean: Floats, by_variance: Floats, spherical: bool) -> Floats:
    """Return derivatives by image weights, [N], through the mean and variances, [k], of each image's class."""
    squares = apart**2 - sample.class_means(apart**2)[sample.labels]
    if spherical:
        squares = squares.mean(axis=1, keepdims=True)
    moved = apart * by_mean[sample.labels] + squares * by_variance[sample.labels]
    return np.asarray(moved.sum(axis=1) * len(sample) / sample.counts[sample.labels])
