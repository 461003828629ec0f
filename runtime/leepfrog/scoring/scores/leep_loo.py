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
    """Compute leave-one-out LEEP: LEEP with each image's own mass removed from its likelihood.

        1/N sum_i log max( sum_z theta_z(x_i) (S_yz - theta_z(x_i)) / (S_z - theta_z(x_i)),
                           1 / (N C) )

    with S_yz = sum_{i: y_i = y} theta_z(x_i), y = y_i, and S_z its sum over y; source classes without remaining mass
    are skipped. It estimates LEEP on held-out images. The floor 1 / (N C) is what one pseudo-image spread evenly over
    the C classes would give an otherwise unseen class; a class with a single image is always at the floor.

    Arguments and errors are those of `leep`.

    Returns:
        Score with diagnostics `n_floored` (number of images at the floor), `n_classes_seen_once` (number of classes
        with one image), and `many_images`: an estimate of LEEP on many more images. This is the mean of LEEP and
        leave-one-out LEEP, which err by about the same amount in opposite directions, as fitted and held-out
        likelihoods do (H. Akaike, 1974). It has the standard error of this score.

    >>> import numpy as np
    >>> leep_loo(np.eye(2)[[0, 0, 1, 1]], [0, 0, 1, 1]).value
    0.0
    """
    return score_leep_loo(ProbSample.of(labels, probs, least=1))


@of_probs("LEEP, with each image predicted from the others", held_out=True)
def score_leep_loo(sample: ProbSample) -> Score:
    """Compute `leep_loo` of a checked sample."""
    mass, shard = mass_of(sample)
    plain = log_likelihood(mass)(shard)
    influence = influence_of(mass, plain, lambda: [shard])
    return leep_loo_of(mass, loo_log_likelihood(mass)(shard), influence, sample.labels, math.fsum(plain) / len(plain))


def loo_terms(sample: ProbSample) -> Floats:
    """Return only the floored terms of leave-one-out LEEP, [N], for searches."""
    mass, shard = mass_of(sample)
    return floored(mass, loo_log_likelihood(mass)(shard))
