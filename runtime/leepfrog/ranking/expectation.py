"""The accuracy to expect of each model, how sure that is, and what choosing one of them may cost.

A model's held-out predictions say how many images it gets right, which is what is wanted but coarse, and often how
likely it finds the right classes, which is finer but something else. Across the models of a ranking the two go
together, so the second steadies the first. This is a normal model with a prior that the models themselves give
(parametric empirical Bayes: C. Morris, JASA 1983): what is extreme by chance is drawn towards what is usual, and since
the same holds for whichever model comes out first, no winner is flattered (B. Efron, "Tweedie's formula and selection
bias", JASA 2011).

Accuracies are angles asin(sqrt(accuracy)) here, whose noise does not depend on them.
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
# Of the standard normal distribution, as many parts of equal probability.
QUANTILES = ndtri((np.arange(200) + 0.5) / 200)


@dataclasses.dataclass(frozen=True)
class Statistic:
    """Something that a model's images show, and how it goes together with the accuracy that is wanted.

    Attributes:
        score: that it comes with.
        part: of the score, None for the score itself.
        is_share: whether it is a share of images, which is turned into an angle.
        slope: how much it changes with the accuracy's angle.
        correlation: how well the two go together among models, but for the noise of the images.
    """

    score: str
    part: str | None
    is_share: bool
    slope: float
    correlation: float

    def terms(self, scores: Mapping[str, Score]) -> Floats:
        """Its terms by image, [N], of a model's scores."""
        score = scores[self.score]
        return (score if self.part is None else score.parts[self.part]).terms


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How an accuracy follows from what is seen, from the image sets and networks of tests/studies/default_order.

    Attributes:
        statistics: those that are seen; the first is the accuracy of held-out predictions, of slope 1.
        spread: the usual standard deviation of angles among models.
        weight: for how many models the usual spread counts beside those at hand.
        shift: how much larger a model's angle is than that of its held-out predictions, on many images.
        shift_of_few: the same beyond that for one image per class; with n of them 1/n of it. A head that sees all
            images is better than one that saw a part of them.
        common, common_of_few: standard deviation of that shift among image sets, the same for all models of one, in the
            same two parts.
        shared: correlation between what different statistics depend on beside the accuracy.
        noise_of_few: how much more variance held-out statistics have for one image per class than means of independent
            images, since heads fitted to few images are chance as well; with n of them 1/n of it.
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
    """What to expect of M models.

    Attributes:
        accuracy: of a head on further images, [M].
        interval: holds it with a probability of 90 %, [M, 2].
        loss: how far below the best model's it is expected to be, [M].
        draws: accuracies that are as likely as each other, [DRAWS, M].
        terms: [M, N], of which `accuracy` is the mean: what each image does to it.
        apart: given two models and how many times the images at hand there are, how far apart their angles are expected
            to be, and the standard deviation of that. Some of it no images take away.
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
    """What held-out predictions let expect.

    Args:
        scores: each model's scores by name, those of the calibration's statistics among them.
        labels: the images' classes, [N].
        calibration: of the kind of accuracy that is expected.
        seed: of the draws.
    """
    terms = [np.stack([statistic.terms(of_model) for of_model in scores]) for statistic in calibration.statistics]
    # Of very many images the scores read a part; their terms are those of all.
    n_read = min(of_model[statistic.score].n_samples for statistic in calibration.statistics for of_model in scores)
    seen = _Seen.of(terms, labels, n_read, calibration)
    mean, covariance, gain = _posterior(seen, calibration)
    images_per_class = n_read / len(np.unique(labels))
    mean = mean + calibration.shift + calibration.shift_of_few / images_per_class
    covariance = covariance + (calibration.common + calibration.common_of_few / images_per_class) ** 2
    # By Cholesky's root, which is continuous in the covariance: a draw is nearly the same on all machines.
    covariance[np.diag_indices_from(covariance)] += 1e-12
    draws = np.random.default_rng(seed).multivariate_normal(mean, covariance, DRAWS, method="cholesky")
    accuracies = _accuracy(draws)
    best = accuracies.max(axis=1, keepdims=True)
    deviations = np.sqrt(np.diag(covariance))
    ends = ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # By quantiles rather than by draws, so that models that are alike get the same.
    angles = mean[:, None] + deviations[:, None] * QUANTILES
    accuracy = _accuracy(angles).mean(axis=1)
    # The accuracy's derivative by the angle's mean, through which the gain says what an image does.
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
    """What is seen of M models: each one's first statistic, then each one's second, and so on for all K.

    Attributes:
        n_models: M.
        values: angles of shares, and means, [K M].
        influence: of each image on the values, [K M, N], mean 0.
        noise: the values' covariance, had other images of the same classes been taken.
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
            # A model that is right about all images may still be wrong about others.
            least += [1 / (8 * n_read) if statistic.is_share else 0.0] * n_models
        noise = _steadied(_covariance_of_means(np.concatenate(influence), labels), n_models, n_read)
        at = np.arange(len(noise))
        noise[at, at] = np.maximum(noise[at, at], least)
        noise *= 1 + calibration.noise_of_few * len(np.unique(labels)) / n_read
        return cls(n_models, np.concatenate(values), np.concatenate(influence), noise)


def _posterior(seen: _Seen, calibration: Calibration) -> tuple[Floats, Floats, Floats]:
    """Mean [M] and covariance [M, M] of the models' angles, and how the mean depends on the values seen, [M, K M]."""
    one = np.eye(seen.n_models)
    slopes = np.array([statistic.slope for statistic in calibration.statistics])
    correlations = np.array([statistic.correlation for statistic in calibration.statistics])
    # A factor model: beside the angle, each statistic depends on something of its own.
    beside = slopes * np.sqrt(1 / correlations**2 - 1)
    usual = np.outer(slopes, slopes) + np.outer(beside, beside) * np.where(np.eye(len(slopes)), 1, calibration.shared)
    scale, scales = _scales(seen, calibration.spread**2 * usual, calibration.weight)
    slopes, usual = slopes * scales, usual * np.outer(scales, scales)
    spread = calibration.spread**2 * scale
    total = spread * np.kron(usual, one) + seen.noise
    to_angles = spread * np.kron(slopes[:, None], one)
    # The mean of each statistic is not known: generalised least squares.
    kinds = np.kron(np.eye(len(slopes)), np.ones((seen.n_models, 1)))
    weighted = np.linalg.solve(total, kinds)
    precision = kinds.T @ weighted
    to_means = np.linalg.solve(precision, weighted.T)
    to_own = np.linalg.solve(total, to_angles).T
    gain = kinds[: seen.n_models] @ to_means + to_own @ (np.eye(len(total)) - kinds @ to_means)
    # What the images leave open, and what the unknown means do.
    left = kinds[: seen.n_models] - to_own @ kinds
    covariance = spread * one - to_own @ to_angles + left @ np.linalg.solve(precision, left.T)
    return gain @ seen.values, (covariance + covariance.T) / 2, gain


def _scales(seen: _Seen, usual: Floats, weight: float) -> tuple[float, Floats]:
    """How much more models vary here than is usual, as a variance; and each statistic beside the angle, as a factor.

    Each is what is seen less what is chance, and what is usual, which counts as `weight` models.
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
    """Covariance of the means of parts [K, N] over images drawn class by class, [K, K]."""
    order, starts = strata(labels)
    sums = np.zeros((len(parts), len(parts)))
    for a, b in itertools.pairwise(starts):
        of_class = parts[:, order[a:b]]
        apart = of_class - of_class.mean(axis=1, keepdims=True)
        sums += apart @ apart.T * ((b - a) / max(b - a - 1, 1))
    return sums / len(labels) ** 2


def _steadied(covariance: Floats, n_models: int, n: int) -> Floats:
    """A covariance of many statistics from few images, its correlations drawn towards those that all models share.

    After O. Ledoit, M. Wolf, "Honey, I shrunk the sample covariance matrix" (2004).
    """
    deviations = np.sqrt(np.diag(covariance))
    scale = np.outer(deviations, deviations)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    np.fill_diagonal(correlation, 1.0)  # of what does not vary as well, so that the others keep their variances
    blocks = correlation.reshape(len(covariance) // n_models, n_models, -1, n_models)
    same = np.einsum("aibi->ab", blocks) / n_models
    others = (blocks.sum(axis=(1, 3)) - n_models * same) / max(n_models * (n_models - 1), 1)
    shared = np.kron(others, np.ones((n_models, n_models))) + np.kron(same - others, np.eye(n_models))
    share = len(covariance) / (len(covariance) + n)
    return np.asarray((1 - share) * covariance + share * shared * scale)
