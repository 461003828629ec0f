"""Closed-form leave-one-out ridge regression, scored by log-likelihood.

The leave-one-out residual of a linear smoother is its residual divided by 1 - h_ii (Allen's PRESS, 1974), so every
image is predicted by a head that never saw it, at the cost of a single eigendecomposition for all strengths.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.held_out import HeldOut
from leepfrog.scoring.sample import FeatureSample, Floats, principal, spectrum
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.softmax import log_softmax, softmax

# Ridge strengths in units of the mean nonzero eigenvalue.
STRENGTHS = 10.0 ** np.arange(-3, 3.5, 0.5)
MAX_STEPS = 50
# Maximum weight of an image in its own prediction.
MOST_LEVERAGE = 1 - 1e-9
# Memory for the predictions of a group of strengths; the features are read once per group.
FITTED_BYTES = 16 << 20


def ridge(features: ArrayLike, labels: ArrayLike) -> Score:
    """Compute the mean held-out log-likelihood of ridge regression to +1/-1 targets, with a tempered softmax.

        ridge = max_{l, T} 1/N sum_i log softmax(T p_i)_{y_i}
        p_i = t_i - (t_i - (H t)_i) / (1 - h_ii)
        H = 1 1' / N + X (X'X + l I)^-1 X'

    for standardized features X, targets t (1 at the class, -1 elsewhere), and the strength l (from 0.001 to 1000) and
    temperature T that predict best. The score is at most 0; an uninformed head gives -log C. Constant features are
    excluded.

    Args:
        features: [N, D].
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `strength` (in units of the mean eigenvalue), `temperature`, `accuracy` and
        `squared_error` (both leave-one-out), and `n_constant` (number of constant features).

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> separate, mixed = [[0.0], [0.1], [1.0], [1.1]], [[0.0], [1.0], [0.1], [1.1]]
    >>> ridge(separate, labels).diagnostics["accuracy"], f"{ridge(mixed, labels):.3f}"
    (1.0, '-0.693')
    """
    return score_ridge(FeatureSample.of(labels, features))


@of_features("log-likelihood of held-out images under a linear head, in closed form", held_out=True)
def score_ridge(sample: FeatureSample) -> Score:
    """Compute `ridge` of a checked sample."""
    held_out = held_out_ridge(sample)
    diagnostics = {
        "strength": held_out.strength,
        "temperature": held_out.temperature,
        "accuracy": float(held_out.correct.mean()),
        "squared_error": float(((held_out.logits - (2 * sample.one_hot - 1)) ** 2).mean()),
        "n_constant": held_out.n_constant,
    }
    return mean_of("ridge", held_out.terms, sample.labels, sample.features.shape[1], diagnostics)


def held_out_ridge(sample: FeatureSample, standardized: bool = True) -> HeldOut:
    """Return leave-one-out predictions of `ridge`, with the strength and temperature that predict best.

    Args:
        sample: checked features.
        standardized: whether features are scaled to equal variance; otherwise they are only centered.
    """
    smoother = _Smoother.of(sample, standardized)
    targets = 2 * sample.one_hot - 1
    mean = targets.mean(axis=0)
    eigenvalues = smoother.eigenvalues
    unit = float(eigenvalues.mean()) if len(eigenvalues) else 1.0
    shares = eigenvalues / (eigenvalues + STRENGTHS[:, None] * unit)
    leverage = np.minimum(1 / len(sample) + smoother.weighted_squares(shares), MOST_LEVERAGE)
    best: HeldOut | None = None
    together = max(1, FITTED_BYTES // targets.nbytes)
    for first in range(0, len(STRENGTHS), together):
        fits = smoother.fitted(2 * smoother.along * shares[first : first + together, :, None])
        for i, fitted in enumerate(fits, first):
            logits = targets - (targets - (mean + fitted)) / (1 - leverage[:, i, None])
            temperature, terms = _best_temperature(logits, sample.labels)
            if best is None or terms.mean() > best.terms.mean():
                correct = logits.argmax(axis=1) == sample.labels
                best = HeldOut(logits, terms, correct, temperature, float(STRENGTHS[i]), smoother.n_constant)
    assert best is not None
    return best


@dataclasses.dataclass(frozen=True)
class _Smoother:
    """Left singular vectors U, [N, k], of standardized (or centered) features X, computed in blocks of rows.

    Attributes:
        sample: sample of the features.
        eigenvalues: nonzero eigenvalues of X'X, [k].
        along: U' one_hot, [k, C].
        u: U, if there are no more images than features; otherwise None, and U is (x - mean) basis.
        basis: projection of centered features onto U, [D, k].
        n_constant: number of constant features, which are excluded.
    """

    sample: FeatureSample
    eigenvalues: Floats
    along: Floats
    u: Floats | None
    basis: Floats
    n_constant: int

    @classmethod
    def of(cls, sample: FeatureSample, standardized: bool = True) -> _Smoother:
        many = len(sample) > sample.mean.size
        spread = np.sqrt(np.diag(sample.moments[0]) / len(sample)) if many else sample.centered.std(axis=0)
        varied = spread > 1e-7 * _largest(sample)
        n_constant, basis = int((~varied).sum()), np.zeros((len(spread), 0))
        if not varied.any():
            return cls(sample, np.empty(0), np.empty((0, sample.n_target)), None, basis, n_constant)
        spread = spread[varied] if standardized else np.ones(int(varied.sum()))
        if not many:
            eigenvalues, coordinates = principal(sample.centered[:, varied] / spread)
            u = coordinates / np.sqrt(eigenvalues)
            return cls(sample, eigenvalues, u.T @ sample.one_hot, u, basis, n_constant)
        scatter, by_class = sample.moments
        eigenvalues, vectors = spectrum(scatter[np.ix_(varied, varied)] / np.outer(spread, spread))
        basis = np.zeros((len(varied), len(eigenvalues)))
        basis[varied] = vectors / spread[:, None] / np.sqrt(eigenvalues)
        return cls(sample, eigenvalues, basis.T @ by_class, None, basis, n_constant)

    def weighted_squares(self, weights: Floats) -> Floats:
        """Return sum_k weights_sk U_ik^2 for each image and each row of weights [S, k], [N, S]."""
        if self.u is not None:
            return np.asarray(self.u**2 @ weights.T)
        sums = np.empty((len(self.sample), len(weights)))
        for at, rows in self.sample.blocks():
            sums[at] = ((rows - self.sample.mean) @ self.basis) ** 2 @ weights.T
        return sums

    def fitted(self, coefficients: Floats) -> Floats:
        """Return U times each matrix of coefficients [S, k, C], [S, N, C]."""
        if self.u is not None:
            return np.asarray(self.u @ coefficients)
        n_strengths, _, n_target = coefficients.shape
        weights = np.concatenate(self.basis @ coefficients, axis=1)
        logits = np.empty((n_strengths, len(self.sample), n_target))
        for at, rows in self.sample.blocks():
            block = (rows - self.sample.mean) @ weights
            logits[:, at] = block.reshape(len(block), n_strengths, n_target).transpose(1, 0, 2)
        return logits


def _largest(sample: FeatureSample) -> float:
    """Return the largest absolute entry of `x`: 1, or 0 if all entries are 0."""
    return float(max(sample.features.max(), -sample.features.min())) / sample.unit


def _best_temperature(logits: Floats, labels: np.ndarray) -> tuple[float, Floats]:
    """Return the T >= 0 that maximizes the mean of log softmax(T logits)_y, and the terms of this mean, [N].

    The mean is concave in T, so Newton's method finds the maximum.
    """
    label_logits = logits[np.arange(len(logits)), labels]
    scale = float(np.abs(logits).max()) or 1.0
    temperature = 1.0 / scale
    low, high = 0.0, np.inf
    for _ in range(MAX_STEPS):
        probs = softmax(temperature * logits)
        expected = (probs * logits).sum(axis=1)
        slope = float((label_logits - expected).mean())
        if slope > 0:
            low = temperature
        else:
            high = temperature
        curvature = float(((probs * logits**2).sum(axis=1) - expected**2).mean())
        ahead = temperature + slope / curvature if curvature > 0 else np.inf
        if not low < ahead < high:  # outside the interval that contains the maximum
            ahead = (low + high) / 2 if np.isfinite(high) else 4 * temperature
        if abs(ahead - temperature) <= 1e-9 * temperature or temperature > 1e6 / scale:
            break
        temperature = ahead
    return temperature, log_softmax(temperature * logits)[np.arange(len(logits)), labels]
