"""N-LEEP: LEEP with the components of a Gaussian mixture of the features as source classes.

Source: Y. Li, X. Jia, R. Sang, Y. Zhu, B. Green, L. Wang, B. Gong, "Ranking Neural Checkpoints", CVPR 2021.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.sample import FeatureSample, Floats, ProbSample
from leepfrog.scoring.score import Score
from leepfrog.scoring.scores.leep import score_leep
from leepfrog.scoring.softmax import log_sum_exp

ENERGY = 0.8
COMPONENTS_PER_CLASS = 5
MAX_STEPS = 100
# Minimum gain of a step to continue, in nats per image.
TOLERANCE = 1e-3
# Added to every variance, as a fraction of the mean variance.
FLOOR = 1e-6


def n_leep(features: ArrayLike, labels: ArrayLike, seed: int = 0) -> Score:
    """Compute LEEP on the components of a Gaussian mixture, for models whose source classes are uninformative.

    Features are reduced to the principal components with 80 % of the variance. A mixture of 5 C Gaussians (at most one
    per image) is fitted by expectation-maximization, starting from k-means++ centers. The score is LEEP of theta_z(x) =
    p(component z | x). It is at most 0, and biased upward unless there are many images per component.

    Covariances are diagonal. The paper does not specify this; in most uses of this program a full covariance has more
    parameters than a component has images, so that each component would collapse onto the images it started with.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        seed: random seed of the initial centers. The order of the images does not matter.

    Returns:
        Score with diagnostics `n_components`, `n_dimensions`, `n_steps` and `converged` (0 or 1).

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> features = [[0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6]]
    >>> n_leep(features, ["cat"] * 3 + ["dog"] * 3) > n_leep(features, ["cat", "dog"] * 3)
    True
    """
    return score_n_leep(FeatureSample.of(labels, features), seed)


@of_features("LEEP on the components of a Gaussian mixture; needs many images per class")
def score_n_leep(sample: FeatureSample, seed: int = 0) -> Score:
    """Compute `n_leep` of a checked sample."""
    share = np.cumsum(sample.variances) / max(float(sample.variances.sum()), np.finfo(float).tiny)
    width = int(np.searchsorted(share, ENERGY * (1 - 1e-12))) + 1
    x = sample.coordinates[:, :width]
    # Sort the images by their own coordinates, so that the result does not depend on their order.
    order = np.argsort((x**2).sum(axis=1), kind="stable")
    mixture = fit_mixture(x[order], min(COMPONENTS_PER_CLASS * sample.n_target, len(x)), seed)
    probs = mixture.responsibilities(x)
    score = score_leep(ProbSample(sample.labels, sample.n_target, probs))
    diagnostics = {
        "n_components": probs.shape[1],
        "n_dimensions": x.shape[1],
        "n_steps": mixture.n_steps,
        "converged": int(mixture.converged),
    }
    return dataclasses.replace(score, name="n_leep", n_source=sample.features.shape[1], diagnostics=diagnostics)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Gaussian mixture with diagonal covariances.

    Attributes:
        logs: logarithms of the component weights, [K].
        means, variances: mean and variances of each component, [K, d].
        n_steps: number of steps made.
        converged: whether the last step gained less than TOLERANCE.
    """

    logs: Floats
    means: Floats
    variances: Floats
    n_steps: int = 0
    converged: bool = False

    def log_densities(self, x: Floats) -> Floats:
        """Return the log of weight times density of points [N, d] for each component, [N, K]."""
        precisions = 1 / self.variances
        squares = x**2 @ precisions.T - 2 * x @ (self.means * precisions).T + (self.means**2 * precisions).sum(axis=1)
        constants = self.logs - 0.5 * np.log(2 * np.pi * self.variances).sum(axis=1)
        return np.asarray(constants - 0.5 * squares)

    def responsibilities(self, x: Floats) -> Floats:
        """Return p(component | x), [N, K]."""
        logs = self.log_densities(x)
        return np.asarray(np.exp(logs - log_sum_exp(logs)[:, None]))


def fit_mixture(x: Floats, n_components: int, seed: int) -> Mixture:
    """Fit a Gaussian mixture to points [N, d] by expectation-maximization, starting from k-means++ centers."""
    floor = FLOOR * float(x.var(axis=0).mean()) if x.size else 0.0
    centers = x[_spread_out(x, n_components, np.random.default_rng(seed))]
    nearest = (centers**2).sum(axis=1) - 2 * x @ centers.T
    mixture = _maximized(x, np.eye(len(centers))[nearest.argmin(axis=1)], floor)
    before = -np.inf
    for step in range(1, MAX_STEPS + 1):
        densities = mixture.log_densities(x)
        totals = log_sum_exp(densities)
        likelihood = float(totals.mean())
        mixture = dataclasses.replace(
            _maximized(x, np.exp(densities - totals[:, None]), floor),
            n_steps=step,
            converged=likelihood - before < TOLERANCE,
        )
        if mixture.converged:
            break
        before = likelihood
    return mixture


def _maximized(x: Floats, responsibilities: Floats, floor: float) -> Mixture:
    masses = responsibilities.sum(axis=0) + 10 * np.finfo(float).eps
    means = responsibilities.T @ x / masses[:, None]
    # E x^2 - (E x)^2 is safe here: x has mean 0, and the floor is far above the rounding error.
    variances = np.maximum(responsibilities.T @ x**2 / masses[:, None] - means**2, 0) + max(floor, np.finfo(float).tiny)
    return Mixture(np.log(masses / len(x)), means, variances)


def _spread_out(x: Floats, n: int, rng: np.random.Generator) -> list[int]:
    """Draw positions of n points, with probability proportional to the squared distance to the nearest drawn one."""
    squares = (x**2).sum(axis=1)
    chosen = [int(rng.integers(len(x)))]
    distances = np.full(len(x), np.inf)
    while len(chosen) < n:
        last = chosen[-1]
        distances = np.maximum(np.minimum(distances, squares - 2 * x @ x[last] + squares[last]), 0)
        distances[last] = 0
        up_to = np.cumsum(distances)
        if up_to[-1] <= 0:  # only duplicates are left
            break
        chosen.append(int(np.searchsorted(up_to, rng.random() * up_to[-1], side="right")))
    return chosen
