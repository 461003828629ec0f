"""Leave-one-out LEEP.

Source: C. Nguyen, T. Hassner, M. Seeger, C. Archambeau, "LEEP: A New Measure to Evaluate Transferability of Learned
Representations", ICML 2020.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_probs
from leepfrog.scoring.joint_mass import floored, influence_of, leep_loo_of, log_likelihood, loo_log_likelihood, mass_of
from leepfrog.scoring.sample import Floats, ProbSample
from leepfrog.scoring.score import Score


def leep_loo(probs: ArrayLike, labels: ArrayLike) -> Score:
    """Leave-one-out LEEP: LEEP with each image's own mass taken out before its likelihood is read.

        1/N sum_i log max( sum_z theta_z(x_i) (S_yz - theta_z(x_i)) / (S_z - theta_z(x_i)),  1 / (N C) )

    with S_yz = sum_{i: y_i = y} theta_z(x_i), y = y_i, and S_z its sum over y; source classes with nothing left are
    left out. It estimates what LEEP would give on held-out images. The floor 1 / (N C) is what one pseudo-image spread
    evenly over the C classes would give a class never seen otherwise; a class with a single image always meets it.

    Args, Raises: as `leep`.

    Returns:
        Score with diagnostics `n_floored` (images at the floor), `n_classes_seen_once`, and `many_images`: about what
        LEEP would be on many more images, the mean of LEEP and leave-one-out LEEP, which err by about the same to
        either side, as held-out and fitted likelihoods do (H. Akaike, 1974). It has this score's standard error.

    >>> import numpy as np
    >>> leep_loo(np.eye(2)[[0, 0, 1, 1]], [0, 0, 1, 1]).value
    0.0
    """
    return score_leep_loo(ProbSample.of(labels, probs, least=1))


@of_probs("LEEP, each image left out of what predicts it", held_out=True)
def score_leep_loo(sample: ProbSample) -> Score:
    """`leep_loo` of a checked sample."""
    mass, shard = mass_of(sample)
    plain = log_likelihood(mass)(shard)
    influence = influence_of(mass, plain, lambda: [shard])
    return leep_loo_of(mass, loo_log_likelihood(mass)(shard), influence, sample.labels, math.fsum(plain) / len(plain))


def loo_terms(sample: ProbSample) -> Floats:
    """Leave-one-out LEEP's terms alone, floored, [N]: what a search needs of it."""
    mass, shard = mass_of(sample)
    return floored(mass, loo_log_likelihood(mass)(shard))
