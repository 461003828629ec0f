"""LEEP.

Source: C. Nguyen, T. Hassner, M. Seeger, C. Archambeau, "LEEP: A New Measure to Evaluate Transferability of Learned
Representations", ICML 2020.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_probs
from leepfrog.scoring.joint_mass import influence_of, leep_of, log_likelihood, mass_of
from leepfrog.scoring.sample import ProbSample
from leepfrog.scoring.score import Score


def leep(probs: ArrayLike, labels: ArrayLike) -> Score:
    """Compute the log expected empirical prediction (LEEP): how well source predictions predict target labels.

    With P(y, z) = 1/N sum_{i: y_i = y} theta_z(x_i) and P(y | z) = P(y, z) / P(z),

        LEEP = 1/N sum_i log sum_z P(y_i | z) theta_z(x_i)

    LEEP is at most 0, which perfect one-hot predictions reach; uninformative predictions give minus the entropy of the
    labels. Each image's own label enters P(y | z), so LEEP is biased upward on few images; use `leep_loo` to compare
    models in that case. The cost is O(N Z), in float64.

    Args:
        probs: softmax over the model's Z source classes for each image, [N, Z], float32 or float64.
        labels: target class of each image, [N], non-negative integers in any range, or strings.

    Returns:
        Score with the diagnostic `n_masked_source`, the number of source classes with zero probability on all images.
        The standard error includes each image's influence on the conditional.

    Raises:
        ArrayError: see `checked_probs` and `checked_labels`.

    Source: Nguyen, Hassner, Seeger, Archambeau, ICML 2020, equations 1 and 2.

    >>> import numpy as np
    >>> leep(np.eye(3)[[0, 1, 2, 0]], [7, 5, 6, 7]).value
    0.0
    """
    return score_leep(ProbSample.of(labels, probs, least=1))


@of_probs("how well source probabilities predict target classes; biased upward on few images")
def score_leep(sample: ProbSample) -> Score:
    """Compute `leep` of a checked sample."""
    mass, shard = mass_of(sample)
    terms = log_likelihood(mass)(shard)
    return leep_of(mass, terms, influence_of(mass, terms, lambda: [shard]), sample.labels)
