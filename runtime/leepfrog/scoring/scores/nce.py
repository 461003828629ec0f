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
    """Compute minus the conditional entropy of the target class y given the predicted source class z.

        NCE = sum_{y, z} P(y, z) log (P(y, z) / P(z)),  z_i = argmax theta(x_i)

    with P the empirical joint distribution; empty cells count as 0. NCE is at most 0. Ties of the argmax go to the
    lowest source class. Like LEEP, it is biased upward on few images.

    Args:
        probs: softmax over the model's Z source classes for each image, [N, Z], float32 or float64.
        labels: target class of each image, [N], integers or strings.

    Returns:
        Score with the diagnostic `n_predicted`, the number of source classes predicted for at least one image. The
        standard error treats the conditional P(y | z) as fixed.

    Raises:
        ArrayError: see `checked_probs` and `checked_labels`, or a single class.

    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> nce([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], labels).value
    0.0
    >>> f"{nce([[0.9, 0.1]] * 4, labels):.3f}"
    '-0.693'
    """
    return score_nce(ProbSample.of(labels, probs))


@of_probs("how well the most likely source class predicts the target class")
def score_nce(sample: ProbSample) -> Score:
    """Compute `nce` of a checked sample."""
    n_source = sample.probs.shape[1]
    cells = sample.probs.argmax(axis=1) * sample.n_target + sample.labels
    joint = np.bincount(cells, minlength=n_source * sample.n_target).reshape(n_source, sample.n_target)
    predicted = joint.sum(axis=1)
    source = cells // sample.n_target
    terms = np.log(joint[source, sample.labels] / predicted[source])
    return mean_of("nce", terms, sample.labels, n_source, {"n_predicted": int(np.count_nonzero(predicted))})
