"""Softmax regression fitted to convergence, used for the linear heads of probes and of retrained models.

Heads with the same inputs but different image weights, such as those of a cross-validation, are fitted as one problem:
the products with the inputs, which take nearly all the time, then become products with matrices K times as wide.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import ArrayError
from leepfrog.scoring.softmax import log_sum_exp, softmax

Floats = NDArray[np.floating]

MAX_STEPS = 200
BLOCK = 1024
MAX_INNER_STEPS = 500


@dataclasses.dataclass(frozen=True)
class Fit:
    """Result of a fit by Newton's method.

    Attributes:
        theta: weights [k, C] followed by a row of biases, [k + 1, C]; [k + 1, K, C] for K heads.
        n_steps: number of Newton steps taken.
        gradient: largest absolute entry of the objective's gradient.
    """

    theta: Floats
    n_steps: int
    gradient: float

    def logits(self, x: Floats) -> Floats:
        """Return the logits of inputs [N, k], [N, C] or [N, K, C]."""
        return np.asarray(np.tensordot(x, self.theta[:-1], 1) + self.theta[-1])


def fit_softmax(
    x: Floats,
    labels: NDArray[np.int64],
    weights: Floats,
    n_classes: int,
    l2: float,
    tolerance: float,
    start: Floats | None = None,
) -> Fit:
    """Minimise sum_n w_n (-log p(y_n | x_n)) + l2/2 |W|^2, without penalising the biases.

    The objective is convex, so Newton's method, with each step solved by conjugate gradients, converges to the only
    minimum (up to a constant added to the biases of all classes), regardless of the order of the images. The conjugate
    gradients are preconditioned with the diagonal of the Hessian, which dominates it if the inputs are principal
    coordinates.

    Args:
        x: inputs [N, k], preferably centered principal coordinates; float32 is faster, and sufficient for tolerances
            above 1e-5.
        labels: class index of each image, [N] in 0..C-1.
        weights: positive weight of each image, [N]; or [N, K] for K heads, where 0 excludes an image.
        n_classes: number of classes, C.
        l2: L2 penalty, positive.
        tolerance: largest absolute entry of the gradient at which to stop.
        start: initial theta, such as that of a fit with a stronger penalty; zeros if None.

    Raises:
        ArrayError: the fit does not converge.
    """
    precision = x.dtype
    by_head = weights.reshape(len(x), -1).astype(precision)
    problem = _Problem(np.column_stack([x, np.ones(len(x), precision)]), labels, by_head, l2)
    shape = (x.shape[1] + 1, by_head.shape[1], n_classes)
    theta = np.zeros(shape, precision) if start is None else start.reshape(shape)
    rounding = 50 * float(np.finfo(precision).eps)
    value = problem.value(theta)
    for step in range(MAX_STEPS):
        gradient, probs = problem.gradient(theta)
        size = float(np.abs(gradient).max())
        if size <= tolerance:
            return Fit(theta if weights.ndim == 2 else theta[:, 0], step, size)
        direction = _conjugate_gradients(problem, probs, gradient)
        slope, rate = float((gradient * direction).sum()), 1.0
        while True:
            ahead = problem.value(theta + rate * direction)
            # Close to the minimum, the decrease is lost in rounding; the full step is right there.
            if ahead <= value + 1e-4 * rate * slope + rounding * abs(value):
                break
            rate /= 2
            if rate < 1e-10:
                raise ArrayError(f"the head did not converge: gradient {size:.1e} after {step} steps")
        theta, value = theta + rate * direction, ahead
    raise ArrayError(f"the head did not converge in {MAX_STEPS} steps")


@dataclasses.dataclass(frozen=True)
class _Problem:
    """Sum of the objectives of K heads, on a design matrix [N, k + 1] whose last column is 1."""

    design: Floats
    labels: NDArray[np.int64]
    weights: Floats  # [N, K]
    l2: float

    def value(self, theta: Floats) -> float:
        logits = self._logits(theta)
        losses = log_sum_exp(logits) - logits[np.arange(len(logits)), :, self.labels]
        return float((self.weights * losses).sum() + self.l2 / 2 * (theta[:-1] ** 2).sum())

    def gradient(self, theta: Floats) -> tuple[Floats, Floats]:
        """Return the gradient, and the probabilities that determine the curvature."""
        probs = softmax(self._logits(theta))
        residual = probs * self.weights[:, :, None]
        residual[np.arange(len(probs)), :, self.labels] -= self.weights
        return self._back(residual) + self._penalty(theta), probs

    def curvature(self, probs: Floats, direction: Floats) -> Floats:
        """Return the product of the Hessian and a direction."""
        change = probs * self._logits(direction)
        change -= probs * change.sum(axis=2, keepdims=True)
        return self._back(change * self.weights[:, :, None]) + self._penalty(direction)

    def diagonal(self, probs: Floats) -> Floats:
        """Return the diagonal of the Hessian, [k + 1, K, C]."""
        spread = probs * (1 - probs) * self.weights[:, :, None]
        diagonal = np.zeros((self.design.shape[1], *spread.shape[1:]), self.design.dtype)
        for start in range(0, len(spread), BLOCK):  # squaring all rows at once would copy the design matrix
            rows = slice(start, start + BLOCK)
            diagonal += np.tensordot(self.design[rows] ** 2, spread[rows], (0, 0))
        diagonal[:-1] += self.l2
        return np.asarray(np.maximum(diagonal, self.l2))

    def _logits(self, theta: Floats) -> Floats:
        """Return the logits, [N, K, C]."""
        return np.asarray((self.design @ theta.reshape(len(theta), -1)).reshape(-1, *theta.shape[1:]))

    def _back(self, by_image: Floats) -> Floats:
        """Return the transposed design matrix times per-image values [N, K, C], [k + 1, K, C]."""
        flat = by_image.reshape(len(by_image), -1)
        return np.asarray((self.design.T @ flat).reshape(-1, *by_image.shape[1:]))

    def _penalty(self, theta: Floats) -> Floats:
        penalty = self.l2 * theta
        penalty[-1] = 0
        return penalty


def _conjugate_gradients(problem: _Problem, probs: Floats, gradient: Floats) -> Floats:
    """Solve Hessian x = -gradient, more accurately the closer theta is to the minimum."""
    diagonal = problem.diagonal(probs)
    step = np.zeros_like(gradient)
    residual = -gradient
    scaled = residual / diagonal
    direction = scaled.copy()
    squared = start = float((residual * scaled).sum())
    enough = start * min(0.25, np.sqrt(start))
    for _ in range(MAX_INNER_STEPS):
        if squared <= enough:
            break
        image = problem.curvature(probs, direction)
        rate = squared / float((direction * image).sum())
        step += rate * direction
        residual -= rate * image
        scaled = residual / diagonal
        before, squared = squared, float((residual * scaled).sum())
        direction = scaled + squared / before * direction
    return step
