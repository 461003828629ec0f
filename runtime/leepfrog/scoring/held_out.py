"""What a head predicts of each image, fitted without it; and softmax regression judged so, by cross-validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.scoring.folds import fold_of
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample, Floats, principal
from leepfrog.scoring.softmax import log_softmax

# Predictions settle long before the weights do.
TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """What a head predicts of each image, fitted without it.

    Attributes:
        logits: [N, C].
        terms: log softmax(temperature logits) at each image's class, [N].
        correct: whether the largest logit is that of its class, [N].
        temperature, strength: those that predict best; the strength is the penalty's.
        n_constant: features that do not vary.
    """

    logits: Floats
    terms: Floats
    correct: NDArray[np.bool_]
    temperature: float
    strength: float
    n_constant: int


def unit_coordinates(sample: FeatureSample) -> tuple[Floats, float]:
    """Principal coordinates [N, r] of features whose root mean square deviation is 1, and what they were divided by."""
    scale = float(np.sqrt(sample.variances.sum() / (len(sample) * sample.features.shape[1]))) or 1.0
    return sample.coordinates / scale, scale


def _rough_coordinates(sample: FeatureSample, least: float) -> NDArray[np.floating]:
    """`unit_coordinates` in half of the time: of single precision, those of a mean square of `least` and more."""
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
    """Predictions of softmax regression, each image's by the head that was fitted to the other folds.

    Args:
        sample: checked features; they are centered and scaled as one.
        penalties: times 1 / (images fitted to), strongest first, so that each fit begins where the one before ended.
            The one with the best mean log-likelihood is chosen; the search ends when it falls.
        folds: at most; each has its share of every class.
        seed: of the folds.
        begin: place of the penalty to begin with; stronger ones are tried where no weaker one is better.
        tolerance: see `fit_softmax`.
        least: principal coordinates of a smaller mean square are left out, and all are of single precision; 0 for none.
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
        # A class of one image is not known when that is held out; no image counts for less than among N C unknown ones.
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
