"""Combined score, the default of earlier versions: the mean of three feature scores in units of their noise.

The best score depends on the goal, and each score has its own weakness: the held-out likelihood of ridge is noisy on
few images, LogME's evidence is stable but models a linear regression, and 1-NN detects structure that no linear head
can use. `tests/studies/default_order` compares this score with alternatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.uncertainty import standard_error

COMBINED = "combined"
PARTS = ("ridge", "logme", "knn")


def combined(scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> list[Score]:
    """Compute how many standard errors each model is above the average model, averaged over PARTS.

        combined_m = 1/3 sum_k (s_mk - mean_m s_mk) / e_k,  e_k^2 = mean_m SE(s_mk - mean_m s_mk)^2

    where SE is the standard error of a difference with images paired. Dividing by noise rather than by the spread of
    the models gives more weight to scores that separate the models, and keeps an outlier among the models from changing
    how the others compare. The value is relative: it depends on the other models, and differences grow with the number
    of images.

    Args:
        scores: scores of each model by name, including PARTS, from the same images.
        labels: class index of each image, [N].

    Returns:
        One score per model; its terms treat the e_k as constants.
    """
    total = np.zeros((len(scores), len(labels)))
    for part in PARTS:
        terms = np.stack([of_model[part].terms for of_model in scores])
        apart = terms - terms.mean(axis=0)
        errors = [standard_error(difference, labels) or 0.0 for difference in apart]
        noise = float(np.sqrt(np.mean(np.square(errors))))
        # Ignore rounding errors between identical models: they are not noise.
        if noise > 1e-12 * float(np.abs(terms).max()):
            total += apart / noise / len(PARTS)
    widths = [of_model[PARTS[0]].n_source for of_model in scores]
    return [mean_of(COMBINED, terms, labels, width, {}) for terms, width in zip(total, widths, strict=True)]
