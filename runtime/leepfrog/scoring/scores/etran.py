"""ETran: the energy of features, combined with a discriminant.

Source: M. Gholami, M. Akbari, X. Wang, B. Kamranian, Y. Zhang, "ETran: Energy-Based Transferability Estimation", ICCV
2023.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_features
from leepfrog.scoring.discriminant import Discriminant
from leepfrog.scoring.parts import scaled_among, sum_of
from leepfrog.scoring.sample import FeatureSample, Floats
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.scores.sfda import self_chosen_shrinkage
from leepfrog.scoring.softmax import log_sum_exp

# Weights of the authors' code.
WEIGHTS = {"energy": 0.15, "certainty": 0.85}


def etran(features: ArrayLike, labels: ArrayLike) -> Score:
    """Measure how familiar images are to a model, and how certain a discriminant of its features is of their classes.

        energy = 1/N sum_i log sum_d exp(x_id),  certainty = 1/N sum_i p(y_i | x_i)
        ETran = 0.15 energy + 0.85 certainty

    with p from the linear discriminant that SFDA starts with. A ranking scales each part to 0..1 over its models, as in
    the paper; for a single model, the parts are added unscaled. The authors' code averages the energy over the 0.5 % of
    images with the least energy, which is no image at all if there are fewer than 200; here the mean is over all
    images. The energy depends on the scale of the features.

    Args:
        features: [N, D]; not rescaled.
        labels: [N] integers or strings.

    Returns:
        Score with diagnostics `energy`, `certainty` and `shrinkage`. The standard error treats the discriminant as
        fixed.

    Raises:
        ArrayError: see `checked_features` and `checked_labels`, or a single class.

    >>> score = etran([[0.0], [0.1], [1.0], [1.1]], ["cat", "cat", "dog", "dog"])
    >>> energy, certainty = score.diagnostics["energy"], score.diagnostics["certainty"]
    >>> f"{score:.2f}", f"{energy:.2f}", f"{certainty:.2f}"
    ('0.93', '0.55', '1.00')
    """
    return score_etran(FeatureSample.of(labels, features))


@of_features(
    "energy of features, and certainty of a discriminant of the classes", among=functools.partial(scaled_among, WEIGHTS)
)
def score_etran(sample: FeatureSample) -> Score:
    """Compute `etran` of a checked sample."""
    width, shrinkage = sample.features.shape[1], self_chosen_shrinkage(sample)
    discriminant = Discriminant.fit(sample, sample.coordinates, width, shrinkage)
    certainty = np.exp(discriminant.log_probs(sample.coordinates)[np.arange(len(sample)), sample.labels])
    parts = [
        mean_of("energy", _energy(sample), sample.labels, width, {}),
        mean_of("certainty", certainty, sample.labels, width, {}),
    ]
    return sum_of("etran", WEIGHTS, parts, sample.labels, {"shrinkage": shrinkage})


def _energy(sample: FeatureSample) -> Floats:
    energies = [log_sum_exp(sample.features[at].astype(np.float64)) for at, _ in sample.blocks()]
    return np.concatenate(energies)
