"""Negative conditional entropy.

Source: A. Tran, C. Nguyen, T. Hassner, "Transferability and Hardness of Supervised Classification Tasks", ICCV 2019.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from leepfrog.scoring.definition import of_probs
from leepfrog.scoring.sample import ProbSample
from leepfrog.scoring.score import Score, mean_of


def nce(probs: ArrayLike, labels: ArrayLike) -> Score:
    """How well the source class that a model predicts tells the target class: minus the entropy of y given z.

        NCE = sum_{y, z} P(y, z) log (P(y, z) / P(z)),  z_i = argmax theta(x_i)

    with P the empirical joint distribution; cells that no image falls into count 0. At most 0. Ties of the argmax go to
    the lowest source class. Like LEEP it flatters models on few images.

    Args:
        probs: [N, Z] float32 or float64, each row the model's softmax over its Z source classes.
        labels: [N] integers or strings, the target class of each image.

    Returns:
        Score with diagnostics `n_predicted`: source classes that are predicted at all. The standard error takes the
        conditional P(y | z) as given.

    Raises:
        ArrayError: see `checked_probs` and `checked_labels`, or a single class.
    """
    return score_nce(ProbSample.of(labels, probs))


@of_probs("how well the source class that is predicted tells the target class")
def score_nce(sample: ProbSample) -> Score:
    """`nce` of a checked sample."""
    n_source = sample.probs.shape[1]
    cells = sample.probs.argmax(axis=1) * sample.n_target + sample.labels
    joint = np.bincount(cells, minlength=n_source * sample.n_target).reshape(n_source, sample.n_target)
    predicted = joint.sum(axis=1)
    source = cells // sample.n_target
    terms = np.log(joint[source, sample.labels] / predicted[source])
    return mean_of("nce", terms, sample.labels, n_source, {"n_predicted": int(np.count_nonzero(predicted))})
