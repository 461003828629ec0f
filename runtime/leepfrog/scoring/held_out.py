"""Held-out predictions of linear heads, and cross-validated softmax regression."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.scoring.folds import fold_of
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample, Floats, principal
from leepfrog.scoring.softmax import log_softmax

# Predictions converge long before the weights do.
TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of each image by a head that was fitted without it.

    Attributes:
        logits: held-out logits, [N, C].
        terms: log softmax(temperature logits) at each image's class, [N].
        correct: whether each image's class has the largest logit, [N].
        temperature, strength: temperature and strength of the penalty that predict best.
        n_constant: number of constant features.
    """

    logits: Floats
    terms: Floats
    correct: NDArray[np.bool_]
    temperature: float
    strength: float
    n_constant: int


def unit_coordinates(sample: FeatureSample) -> tuple[Floats, float]:
    """Return principal coordinates [N, r] of features scaled to a root mean square deviation of 1, and the scale."""
    scale = float(np.sqrt(sample.variances.sum() / (len(sample) * sample.features.shape[1]))) or 1.0
    return sample.coordinates / scale, scale


def _rough_coordinates(sample: FeatureSample, least: float) -> NDArray[np.floating]:
    """Return `unit_coordinates` whose mean square exceeds `least`, in single precision, which takes half the time."""
    x = np.empty(sample.features.shape, np.float32)
    for at, rows in sample.blocks():
        x[at] = rows - sample.mean
    x /= np.float32(np.linalg.norm(x) / np.sqrt(x.size)) or np.float32(1)
    variances, coordinates = principal(x)
    return coordinates[:, : max(1, int((variances > least * len(sample)).sum()))]


def held_out_softmax(
    sample: FeatureSample,
    penalties: Sequence[float],
    folds: int,
    seed: int = 0,
    *,
    begin: int = 0,
    tolerance: float = TOLERANCE,
    least: float = 0.0,
) -> HeldOut:
    """Predict each image by softmax regression fitted to the other folds.

    Args:
        sample: checked features; they are centered and scaled by a common factor.
        penalties: L2 penalties times the number of images fitted to, strongest first; each fit starts from the previous
            one. The penalty with the best mean log-likelihood is chosen; the search stops when the likelihood falls.
        folds: maximum number of folds, which are stratified by class.
        seed: seed of the folds.
        begin: index of the first penalty to try; stronger ones are tried only if no weaker one is better.
        tolerance: see `fit_softmax`.
        least: if positive, principal coordinates with a smaller mean square are dropped, and the others are computed in
            single precision.
    """
    n, at = len(sample), np.arange(len(sample))
    x = _rough_coordinates(sample, least) if least else unit_coordinates(sample)[0].astype(np.float32)
    fold = fold_of(sample.labels, min(folds, n), seed)
    fitted = fold[:, None] != np.arange(fold.max() + 1)
    n_fitted = fitted.sum(axis=0)
    theta: NDArray[np.floating] | None = None

    def held_out(penalty: float) -> HeldOut:
        nonlocal theta
        l2 = penalty / n_fitted.mean()
        fit = fit_softmax(x, sample.labels, fitted / n_fitted, sample.n_target, l2, tolerance, theta)
        theta = fit.theta
        logits = fit.logits(x)[at, fold].astype(np.float64)
        # A class with one image is unknown when that image is held out, so terms are floored at log 1 / (N C).
        terms = np.maximum(log_softmax(logits)[at, sample.labels], -np.log(n * sample.n_target))
        return HeldOut(logits, terms, logits.argmax(axis=1) == sample.labels, 1.0, float(penalty), 0)

    first = best = held_out(penalties[begin])
    for further in (penalties[begin + 1 :], penalties[:begin][::-1]):
        for penalty in further if best is first else ():
            found = held_out(penalty)
            if found.terms.mean() <= best.terms.mean():
                break
            best = found
    return best
