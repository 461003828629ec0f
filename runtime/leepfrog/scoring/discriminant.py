"""Linear discriminant analysis, evaluated on the images it was fitted to."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.softmax import log_softmax

# Minimum share of the identity in a covariance, to keep it invertible.
LEAST = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class Discriminant:
    """Linear discriminant with one covariance for all classes.

    Attributes:
        means: mean of each class, [C, r].
        covariance: shrunk covariance within classes, [r, r]; None if the features do not vary.
        log_priors: log frequency of each class, [C].
    """

    means: Floats
    covariance: Floats | None
    log_priors: Floats

    @classmethod
    def fit(cls, sample: FeatureSample, x: Floats, width: int, shrinkage: float) -> Discriminant:
        """Fit the discriminant to x [N, r], coordinates of features in `width` dimensions.

        Its covariance is (1 - shrinkage) S_w + shrinkage tr(S_w) / width I, with S_w the covariance within classes.
        """
        means = sample.class_means(x)
        within = within_classes(sample, x, means)
        mean_variance = float(np.trace(within)) / width
        if not mean_variance:  # every class is a single point: use the scale of the means instead
            mean_variance = float((means**2).sum()) / width / len(means)
        priors = np.log(sample.counts / len(sample))
        if not mean_variance:
            return cls(means, None, priors)
        covariance = (1 - shrinkage) * within
        covariance[np.diag_indices_from(covariance)] += max(shrinkage, LEAST) * mean_variance
        return cls(means, covariance, priors)

    def log_probs(self, x: Floats) -> Floats:
        """Return the log posterior of each class, [N, C]."""
        if self.covariance is None:
            return np.tile(self.log_priors, (len(x), 1))
        directions = cho_solve(cho_factor(self.covariance, lower=True), self.means.T)
        return log_softmax(x @ directions - (self.means.T * directions).sum(axis=0) / 2 + self.log_priors)


def within_classes(sample: FeatureSample, x: Floats, means: Floats) -> Floats:
    """Return the covariance of x within classes: the mean outer product of deviations from class means, [r, r]."""
    apart = x - means[sample.labels]
    return np.asarray(apart.T @ apart / len(sample))
