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
# Times 1 / (images fitted to), on features whose root mean square deviation is 1, strongest first.
PENALTIES = (1000.0, 100.0, 10.0, 1.0)
LIKELIEST = 1  # place of the penalty to begin with: the others are rarely all needed
# Predictions settle long before the weights do, and directions that vary by less hold next to nothing that a penalised
# head uses. Both were tried on the sets of tests/studies/default_order: three times as rough, and the likelihood orders
# models less well.
TOLERANCE, LEAST = 3e-3, 0.01


def linear_probe(features: ArrayLike, labels: ArrayLike, folds: int = FOLDS, seed: int = 0) -> Score:
    """Accuracy on held-out images of softmax regression, by k-fold cross-validation.

    Each fold has its share of every class. Features are centred and scaled as one; the penalty is that of four with the
    best likelihood of held-out images, searched from the second strongest on until it falls. A class with one image is
    never predicted rightly.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        folds: from 2 to N.
        seed: of the folds.

    Returns:
        Score, the mean of N zeros and ones, with diagnostics `log_likelihood` (mean over held-out images, each at least
        that of 1 / (N C)), `penalty` and `folds`, and that likelihood as its part `likelihood`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or no such folds.
    """
    return score_linear_probe(FeatureSample.of(labels, features), folds, seed)


@of_features("accuracy of 5-fold softmax regression", held_out=True)
def score_linear_probe(sample: FeatureSample, folds: int = FOLDS, seed: int = 0) -> Score:
    """`linear_probe` of a checked sample; ArrayError where the other arguments are wrong."""
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
    """The held-out predictions of `linear_probe`."""
    return held_out_softmax(sample, PENALTIES, folds, seed, begin=LIKELIEST, tolerance=TOLERANCE, least=LEAST)
