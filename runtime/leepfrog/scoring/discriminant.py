"""Linear discriminant analysis as scores need it: what it predicts of the images that it was fitted to."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.softmax import log_softmax

# The least share of the identity in a covariance, which keeps it invertible.
LEAST = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear discriminant with one covariance for all classes.

    Attributes:
        means: of the classes, [C, r].
        covariance: within classes, shrunk, [r, r]; None where features do not vary.
        log_priors: [C].
    """

    means: Floats
    covariance: Floats | None
    log_priors: Floats

    @classmethod
    def fit(cls, sample: FeatureSample, x: Floats, width: int, shrinkage: float) -> Discriminant:
        """The discriminant of x [N, r], coordinates of features in `width` dimensions.

        Its covariance is (1 - shrinkage) S_w + shrinkage tr(S_w) / width I, S_w the mean square within classes.
        """
        means = sample.class_means(x)
        within = within_classes(sample, x, means)
        mean_variance = float(np.trace(within)) / width
        if not mean_variance:  # every class is one point: without a scale of its own, the means' serves
            mean_variance = float((means**2).sum()) / width / len(means)
        priors = np.log(sample.counts / len(sample))
        if not mean_variance:
            return cls(means, None, priors)
        covariance = (1 - shrinkage) * within
        covariance[np.diag_indices_from(covariance)] += max(shrinkage, LEAST) * mean_variance
        return cls(means, covariance, priors)

    def log_probs(self, x: Floats) -> Floats:
        """Log posterior of each class, [N, C]."""
        if self.covariance is None:
            return np.tile(self.log_priors, (len(x), 1))
        directions = cho_solve(cho_factor(self.covariance, lower=True), self.means.T)
        return log_softmax(x @ directions - (self.means.T * directions).sum(axis=0) / 2 + self.log_priors)


def within_classes(sample: FeatureSample, x: Floats, means: Floats) -> Floats:
    """Mean over images of the outer product of x's deviation from its class's mean, [r, r]."""
    apart = x - means[sample.labels]
    return np.asarray(apart.T @ apart / len(sample))
