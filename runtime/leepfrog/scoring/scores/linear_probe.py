"""Linear probe: a cross-validated linear head."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.errors import ArrayError
from leepfrog.scoring.definition import of_features
from leepfrog.scoring.held_out import HeldOut, held_out_softmax
from leepfrog.scoring.sample import FeatureSample
from leepfrog.scoring.score import Score, mean_of

FOLDS = 5
# L2 penalties times the number of images fitted to, for features with a root mean square deviation of 1.
PENALTIES = (1000.0, 100.0, 10.0, 1.0)
LIKELIEST = 1  # index of the first penalty to try; the others are rarely all needed
# Predictions converge long before the weights do, and a penalised head makes next to no use of directions with less
# variance. Both values were tested on the sets of tests/studies/default_order: with values three times as coarse, the
# likelihood orders models less well.
TOLERANCE, LEAST = 3e-3, 0.01


def linear_probe(features: ArrayLike, labels: ArrayLike, folds: int = FOLDS, seed: int = 0) -> Score:
    """Compute the held-out accuracy of softmax regression by k-fold cross-validation.

    Folds are stratified by class. Features are centered and scaled by a common factor. Of four penalties, the one with
    the best held-out likelihood is used; the search starts at the second strongest and stops when the likelihood falls.
    A class with one image is never predicted correctly.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        folds: number of folds, at least 2; at most N are used.
        seed: random seed of the folds.

    Returns:
        Score, the mean of N zeros and ones, with diagnostics `log_likelihood` (mean over held-out images, each floored
        at log 1 / (N C)), `penalty` and `folds`; the log-likelihood is also the part `likelihood`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or fewer than 2 folds.

    >>> linear_probe([[0.0], [0.1], [1.0], [1.1]], ["cat", "cat", "dog", "dog"], folds=2).value
    1.0
    """
    return score_linear_probe(FeatureSample.of(labels, features), folds, seed)


@of_features("held-out accuracy of 5-fold softmax regression", held_out=True)
def score_linear_probe(sample: FeatureSample, folds: int = FOLDS, seed: int = 0) -> Score:
    """Compute `linear_probe` of a checked sample; raise ArrayError if another argument is invalid."""
    if not folds >= 2:
        raise ArrayError(f"folds must be at least 2, not {folds}")
    held_out = held_out_probe(sample, folds, seed)
    width = sample.features.shape[1]
    likelihood = mean_of("likelihood", held_out.terms, sample.labels, width, {})
    diagnostics = {
        "log_likelihood": likelihood.value, "penalty": held_out.strength, "folds": min(folds, len(sample))
    }  # fmt: skip
    score = mean_of("linear_probe", held_out.correct.astype(np.float64), sample.labels, width, diagnostics)
    return dataclasses.replace(score, parts={"likelihood": likelihood})


def held_out_probe(sample: FeatureSample, folds: int = FOLDS, seed: int = 0) -> HeldOut:
    """Return the held-out predictions of `linear_probe`."""
    return held_out_softmax(sample, PENALTIES, folds, seed, begin=LIKELIEST, tolerance=TOLERANCE, least=LEAST)
