"""Linear probe: a cross-validated linear head."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.errors import ArrayError
from leepfrog.scoring.definition import of_features
from leepfrog.scoring.held_out import held_out_softmax
from leepfrog.scoring.sample import FeatureSample
from leepfrog.scoring.score import Score, mean_of

FOLDS = 5
# Times 1 / (images fitted to), on features whose root mean square deviation is 1: what predicted held-out photographs
# best, see leepfrog.task2vec.head.
PENALTY = 10.0


def linear_probe(features: ArrayLike, labels: ArrayLike, folds: int = FOLDS, seed: int = 0) -> Score:
    """Accuracy on held-out images of softmax regression, by k-fold cross-validation.

    Each fold has its share of every class. Features are centred and scaled as one; the penalty is fixed, not searched
    (`ridge` searches, and takes a fraction of the time). A class with one image is never predicted rightly.

    Args:
        features: [N, D].
        labels: [N] integers or strings.
        folds: from 2 to N.
        seed: of the folds.

    Returns:
        Score, the mean of N zeros and ones, with diagnostics `log_likelihood` (mean over held-out images; a class that
        was not fitted counts as 1 / (N C)) and `folds`.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, a single class, or no such folds.
    """
    return score_linear_probe(FeatureSample.of(labels, features), folds, seed)


@of_features("accuracy of 5-fold softmax regression", held_out=True)
def score_linear_probe(sample: FeatureSample, folds: int = FOLDS, seed: int = 0) -> Score:
    """`linear_probe` of a checked sample; ArrayError where the other arguments are wrong."""
    if not folds >= 2:
        raise ArrayError(f"folds must be at least 2, not {folds}")
    held_out = held_out_softmax(sample, [PENALTY], folds, seed)
    hits = held_out.correct.astype(np.float64)
    diagnostics = {"log_likelihood": float(held_out.terms.mean()), "folds": min(folds, len(sample))}
    return mean_of("linear_probe", hits, sample.labels, sample.features.shape[1], diagnostics)
