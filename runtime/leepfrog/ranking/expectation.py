"""Joint posterior distribution of the models' accuracies.

The held-out accuracy of a model estimates the wanted quantity directly but coarsely. Its held-out log-likelihood has
less noise but is a different quantity. Both are correlated across models, so each model's accuracy is estimated from
all statistics of all models. This is parametric empirical Bayes (C. Morris, JASA 1983): normal likelihood, normal prior
with mean and variance estimated from the models being ranked. Extreme values shrink towards the mean, so that the
estimate for the model that happens to come first is not biased upwards (B. Efron, "Tweedie's formula and selection
bias", JASA 2011).

Accuracies are transformed to angles asin(sqrt(accuracy)), whose sampling variance does not depend on the accuracy.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from leepfrog.scoring.score import Score
from leepfrog.scoring.uncertainty import LEVEL, strata

Floats = NDArray[np.float64]

DRAWS = 4000
# Midpoints of equally probable intervals of the standard normal distribution.
QUANTILES = ndtri((np.arange(200) + 0.5) / 200)


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A statistic of a model's held-out predictions, and its relation to the accuracy.

    Attributes:
        score: name of the score that provides it.
        part: name of a part of that score; None for the score itself.
        is_share: whether it is a fraction of images, which is transformed to an angle.
        slope: regression slope of the statistic on the angle of the accuracy.
        correlation: correlation with the angle of the accuracy across models, without sampling noise.
    """

    score: str
    part: str | None
    is_share: bool
    slope: float
    correlation: float

    def terms(self, scores: Mapping[str, Score]) -> Floats:
        """Return the per-image terms [N] of the statistic, given a model's scores."""
        score = scores[self.score]
        return (score if self.part is None else score.parts[self.part]).terms


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Parameters that relate statistics to accuracies, estimated by tests/studies/default_order.

    With n images per class, `x_of_few` contributes x_of_few / n.

    Attributes:
        statistics: the observed statistics; the first is the held-out accuracy, with slope 1.
        spread: prior standard deviation of the angles across models.
        weight: number of models that the prior spread counts for, when it is combined with the observed spread.
        shift, shift_of_few: difference between a model's angle and that of its held-out accuracy. It is positive,
            because a head that is fitted to all images is better than the heads of cross-validation.
        common, common_of_few: standard deviation of that difference across image sets; it is the same for all models on
            one image set.
        shared: correlation between the residuals of different statistics given the accuracy.
        noise_of_few: excess variance of held-out statistics, relative to means of independent images. Heads fitted to
            few images are random as well.
    """

    statistics: tuple[Statistic, ...]
    spread: float
    weight: float
    shift: float
    shift_of_few: float
    common: float
    common_of_few: float
    shared: float
    noise_of_few: float


@dataclasses.dataclass(frozen=True, eq=False)
class Expectation:
    """Posterior of the accuracies of M models on new images.

    Attributes:
        accuracy: expected accuracy, [M].
        interval: 90 % interval of the accuracy, [M, 2].
        loss: expected difference to the accuracy of the best model, [M].
        draws: draws from the joint posterior of the accuracies, [DRAWS, M].
        terms: contribution of each image, [M, N]; the mean over images is `accuracy`.
        apart: function of two models and a factor by which the number of images grows. Returns the mean and the
            standard deviation of the difference of their angles; part of it remains with any number of images.
    """

    accuracy: Floats
    interval: Floats
    loss: Floats
    draws: Floats
    terms: Floats
    apart: Callable[[int, int, float], tuple[float, float]]


def expectation(
    scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64], calibration: Calibration, seed: int = 0
) -> Expectation:
    """Return the posterior of the models' accuracies, given their held-out predictions.

    Args:
        scores: scores of each model by name, including those that provide the calibration's statistics.
        labels: class index of each image, [N].
        calibration: parameters for the kind of accuracy.
        seed: seed of the draws.
    """
    terms = [np.stack([statistic.terms(of_model) for of_model in scores]) for statistic in calibration.statistics]
    # On large sets, scores are computed from a subsample, but their terms cover all images.
    n_read = min(of_model[statistic.score].n_samples for statistic in calibration.statistics for of_model in scores)
    seen = _Seen.of(terms, labels, n_read, calibration)
    mean, covariance, gain = _posterior(seen, calibration)
    images_per_class = n_read / len(np.unique(labels))
    mean = mean + calibration.shift + calibration.shift_of_few / images_per_class
    covariance = covariance + (calibration.common + calibration.common_of_few / images_per_class) ** 2
    # The Cholesky factor is a continuous function of the covariance, so draws are nearly the same on all machines.
    covariance[np.diag_indices_from(covariance)] += 1e-12
    draws = np.random.default_rng(seed).multivariate_normal(mean, covariance, DRAWS, method="cholesky")
    accuracies = _accuracy(draws)
    best = accuracies.max(axis=1, keepdims=True)
    deviations = np.sqrt(np.diag(covariance))
    ends = ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Quantiles instead of draws, so that identical models get identical values.
    angles = mean[:, None] + deviations[:, None] * QUANTILES
    accuracy = _accuracy(angles).mean(axis=1)
    # Derivative of the accuracy with respect to the mean angle: the chain rule from images to accuracies.
    slope = np.where((angles > 0) & (angles < np.pi / 2), np.sin(2 * angles), 0).mean(axis=1)

    def apart(first: int, second: int, times: float) -> tuple[float, float]:
        angles, errors, _ = _posterior(dataclasses.replace(seen, noise=seen.noise / times), calibration)
        squared = errors[first, first] + errors[second, second] - 2 * errors[first, second]
        return float(angles[first] - angles[second]), float(np.sqrt(max(squared, 0.0)))

    return Expectation(
        accuracy=accuracy,
        interval=_accuracy(mean[:, None] + deviations[:, None] * ends),
        loss=(best - accuracies).mean(axis=0),
        draws=accuracies,
        terms=accuracy[:, None] + slope[:, None] * (gain @ seen.influence),
        apart=apart,
    )


def _accuracy(angles: Floats) -> Floats:
    return np.asarray(np.sin(np.clip(angles, 0, np.pi / 2)) ** 2)


@dataclasses.dataclass(frozen=True, eq=False)
class _Seen:
    """Observed statistics: the first of all M models, then the second, and so on for all K.

    Attributes:
        n_models: M.
        values: angles of fractions, and means of other statistics, [K M].
        influence: influence of each image on the values, [K M, N], with mean 0.
        noise: sampling covariance of the values (stratified by class), [K M, K M].
    """

    n_models: int
    values: Floats
    influence: Floats
    noise: Floats

    @classmethod
    def of(cls, terms: Sequence[Floats], labels: NDArray[np.int64], n_read: int, calibration: Calibration) -> _Seen:
        n_models, n = terms[0].shape
        values, influence, least = [], [], []
        for statistic, by_image in zip(calibration.statistics, terms, strict=True):
            means = by_image.mean(axis=1)
            apart = by_image - means[:, None]
            if statistic.is_share:
                share = (by_image.sum(axis=1) + 3 / 8) / (n + 3 / 4)
                means, apart = np.arcsin(np.sqrt(share)), apart / (2 * np.sqrt(share * (1 - share)))[:, None]
            values.append(means)
            influence.append(apart)
            # A model without errors on these images may still make some on others.
            least += [1 / (8 * n_read) if statistic.is_share else 0.0] * n_models
        noise = _steadied(_covariance_of_means(np.concatenate(influence), labels), n_models, n_read)
        at = np.arange(len(noise))
        noise[at, at] = np.maximum(noise[at, at], least)
        noise *= 1 + calibration.noise_of_few * len(np.unique(labels)) / n_read
        return cls(n_models, np.concatenate(values), np.concatenate(influence), noise)


def _posterior(seen: _Seen, calibration: Calibration) -> tuple[Floats, Floats, Floats]:
    """Return the posterior mean [M] and covariance [M, M] of the angles, and the gain [M, K M] of the mean."""
    one = np.eye(seen.n_models)
    slopes = np.array([statistic.slope for statistic in calibration.statistics])
    correlations = np.array([statistic.correlation for statistic in calibration.statistics])
    # Factor model: each statistic depends on the angle and on a residual of its own.
    beside = slopes * np.sqrt(1 / correlations**2 - 1)
    usual = np.outer(slopes, slopes) + np.outer(beside, beside) * np.where(np.eye(len(slopes)), 1, calibration.shared)
    scale, scales = _scales(seen, calibration.spread**2 * usual, calibration.weight)
    slopes, usual = slopes * scales, usual * np.outer(scales, scales)
    spread = calibration.spread**2 * scale
    total = spread * np.kron(usual, one) + seen.noise
    to_angles = spread * np.kron(slopes[:, None], one)
    # The mean of each statistic across models is unknown: generalised least squares.
    kinds = np.kron(np.eye(len(slopes)), np.ones((seen.n_models, 1)))
    weighted = np.linalg.solve(total, kinds)
    precision = kinds.T @ weighted
    to_means = np.linalg.solve(precision, weighted.T)
    to_own = np.linalg.solve(total, to_angles).T
    gain = kinds[: seen.n_models] @ to_means + to_own @ (np.eye(len(total)) - kinds @ to_means)
    # Posterior covariance given the means, and the contribution of the uncertain means.
    left = kinds[: seen.n_models] - to_own @ kinds
    covariance = spread * one - to_own @ to_angles + left @ np.linalg.solve(precision, left.T)
    return gain @ seen.values, (covariance + covariance.T) / 2, gain


def _scales(seen: _Seen, usual: Floats, weight: float) -> tuple[float, Floats]:
    """Return the variance across models relative to the prior, and a scale factor for each statistic.

    Both compare the observed variance, less the sampling noise, with the prior, which counts as `weight` models.
    """
    degrees = max(seen.n_models - 1, 1)
    by_kind = seen.values.reshape(len(usual), seen.n_models)
    apart = by_kind - by_kind.mean(axis=1, keepdims=True)
    blocks = seen.noise.reshape(len(usual), seen.n_models, len(usual), seen.n_models)
    chance = np.einsum("ij,ajbi->ab", np.eye(seen.n_models) - 1 / seen.n_models, blocks)
    found = apart @ apart.T - chance
    weights = np.linalg.inv(usual + chance / degrees)
    together = float(np.sum(weights * found) / np.sum(weights * usual))
    each = np.diag(found) / np.diag(usual)

    def steadied(variance: Floats | float) -> Floats:
        return np.asarray((np.maximum(variance, 0) + weight) / (seen.n_models - 1 + weight))

    scale = float(steadied(together))
    scales = np.sqrt(steadied(each) / scale)
    scales[0] = 1.0  # the accuracy itself
    return scale, scales


def _covariance_of_means(parts: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return the covariance [K, K] of the means of terms [K, N], for images sampled within classes."""
    order, starts = strata(labels)
    sums = np.zeros((len(parts), len(parts)))
    for a, b in itertools.pairwise(starts):
        of_class = parts[:, order[a:b]]
        apart = of_class - of_class.mean(axis=1, keepdims=True)
        sums += apart @ apart.T * ((b - a) / max(b - a - 1, 1))
    return sums / len(labels) ** 2


def _steadied(covariance: Floats, n_models: int, n: int) -> Floats:
    """Shrink the correlations of a covariance estimate from n images towards their mean over pairs of models.

    Source: O. Ledoit, M. Wolf, "Honey, I shrunk the sample covariance matrix" (2004).
    """
    deviations = np.sqrt(np.diag(covariance))
    scale = np.outer(deviations, deviations)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    np.fill_diagonal(correlation, 1.0)  # also of constant statistics, so that the others keep their variances
    blocks = correlation.reshape(len(covariance) // n_models, n_models, -1, n_models)
    same = np.einsum("aibi->ab", blocks) / n_models
    others = (blocks.sum(axis=(1, 3)) - n_models * same) / max(n_models * (n_models - 1), 1)
    shared = np.kron(others, np.ones((n_models, n_models))) + np.kron(same - others, np.eye(n_models))
    share = len(covariance) / (len(covariance) + n)
    return np.asarray((1 - share) * covariance + share * shared * scale)
