"""Closed-form leave-one-out ridge regression, judged by log-likelihood.

The leave-one-out residual of a linear smoother is its residual divided by 1 - h_ii (Allen's PRESS, 1974), so that every
image is predicted by a head that never saw it, at the cost of one eigendecomposition for all strengths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.sample import Floats, Sample, principal
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.softmax import log_softmax, softmax

# In units of the mean of the eigenvalues that are not 0.
STRENGTHS = 10.0 ** np.arange(-3, 3.5, 0.5)
MAX_STEPS = 50
# The most that an image may weigh in its own prediction.
MOST_LEVERAGE = 1 - 1e-9


def ridge(features: ArrayLike, labels: ArrayLike) -> Score:
    """Mean log-likelihood of held-out images under ridge regression to +1 and -1, with a softmax and one temperature.

        ridge = max_{l, T} 1/N sum_i log softmax(T p_i)_{y_i},  p_i = t_i - (t_i - (H t)_i) / (1 - h_ii)
        H = 1 1' / N + X (X'X + l I)^-1 X'

    for standardised features X, targets t (1 at the class, -1 elsewhere), the strength l of STRENGTHS and the
    temperature T that predict best. At most 0; knowing nothing gives -log C. Features that do not vary are left out.

    Args:
        features: [N, D].
        labels: [N] integers.

    Returns:
        Score with diagnostics `strength` (in units of the mean eigenvalue), `temperature`, `accuracy`, `squared_error`
        (both left-one-out) and `n_constant` (features).

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.
    """
    return score_ridge(Sample.of(labels, features=features))


def score_ridge(sample: Sample) -> Score:
    """`ridge` of a checked sample."""
    assert sample.features is not None
    spread = sample.centred.std(axis=0)
    varied = spread > 1e-7 * float(np.abs(sample.x).max())
    targets = 2 * sample.one_hot - 1
    best: tuple[float, Floats, Floats, float, float] | None = None
    eigenvalues, coordinates = (
        principal(sample.centred[:, varied] / spread[varied]) if varied.any() else _nothing(sample)
    )
    # Left singular vectors: orthonormal, and orthogonal to the constant.
    u = coordinates / np.sqrt(eigenvalues)
    mean = targets.mean(axis=0)
    along = u.T @ targets
    squares = u**2
    unit = float(eigenvalues.mean()) if len(eigenvalues) else 1.0
    for strength in STRENGTHS:
        share = eigenvalues / (eigenvalues + strength * unit)
        fitted = mean + u @ (share[:, None] * along)
        leverage = np.minimum(1 / len(sample) + squares @ share, MOST_LEVERAGE)
        held_out = targets - (targets - fitted) / (1 - leverage)[:, None]
        temperature, terms = _best_temperature(held_out, sample.labels)
        if best is None or terms.mean() > best[0]:
            best = (float(terms.mean()), terms, held_out, temperature, float(strength))
    assert best is not None
    _, terms, held_out, temperature, strength = best
    diagnostics = {
        "strength": strength,
        "temperature": temperature,
        "accuracy": float((held_out.argmax(axis=1) == sample.labels).mean()),
        "squared_error": float(((held_out - targets) ** 2).mean()),
        "n_constant": int((~varied).sum()),
    }
    return mean_of("ridge", terms, sample.labels, sample.features.shape[1], diagnostics)


def _nothing(sample: Sample) -> tuple[Floats, Floats]:
    return np.empty(0), np.empty((len(sample), 0))


def _best_temperature(logits: Floats, labels: np.ndarray) -> tuple[float, Floats]:
    """The T >= 0 with the largest mean log softmax(T logits)_y, which is concave in T, by Newton; and its terms."""
    own = logits[np.arange(len(logits)), labels]
    scale = float(np.abs(logits).max()) or 1.0
    temperature = 1.0 / scale
    low, high = 0.0, np.inf
    for _ in range(MAX_STEPS):
        probs = softmax(temperature * logits)
        expected = (probs * logits).sum(axis=1)
        slope = float((own - expected).mean())
        if slope > 0:
            low = temperature
        else:
            high = temperature
        curvature = float(((probs * logits**2).sum(axis=1) - expected**2).mean())
        ahead = temperature + slope / curvature if curvature > 0 else np.inf
        if not low < ahead < high:  # outside of what is known to hold the maximum
            ahead = (low + high) / 2 if np.isfinite(high) else 4 * temperature
        if abs(ahead - temperature) <= 1e-9 * temperature or temperature > 1e6 / scale:
            break
        temperature = ahead
    return temperature, log_softmax(temperature * logits)[np.arange(len(logits)), labels]
