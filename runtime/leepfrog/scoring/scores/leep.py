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
    """Log expected empirical prediction (LEEP): how well source predictions alone predict the target label.

    With P(y, z) = 1/N sum_{i: y_i = y} theta_z(x_i) and P(y | z) = P(y, z) / P(z),

        LEEP = 1/N sum_i log sum_z P(y_i | z) theta_z(x_i)

    It is at most 0, which perfect one-hot predictions reach; predictions that tell nothing give minus the entropy of
    the labels. It reads each image's own label into P(y | z), so it is biased upward on few images; compare models by
    `leep_loo` then. Cost O(N Z), float64.

    Args:
        probs: [N, Z] float32 or float64, each row the model's softmax over its Z source classes.
        labels: [N] integers (non-negative, in any range) or strings, the target class of each image.

    Returns:
        Score with diagnostics `n_masked_source`: source classes that no image gives any probability. The standard
        error counts what each image does to the conditional.

    Raises:
        ArrayError: see `checked_probs` and `checked_labels`.

    Source: Nguyen, Hassner, Seeger, Archambeau, ICML 2020, equations 1 and 2.

    >>> import numpy as np
    >>> leep(np.eye(3)[[0, 1, 2, 0]], [7, 5, 6, 7]).value
    0.0
    """
    return score_leep(ProbSample.of(labels, probs, least=1))


@of_probs("how well source predictions, as probabilities, tell target classes; flatters models on few images")
def score_leep(sample: ProbSample) -> Score:
    """`leep` of a checked sample."""
    mass, shard = mass_of(sample)
    terms = log_likelihood(mass)(shard)
    return leep_of(mass, terms, influence_of(mass, terms, lambda: [shard]), sample.labels)
