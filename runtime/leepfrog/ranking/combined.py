"""The default order of earlier versions: three scores that judge features in different ways, in units of their noise.

Retrained heads and few shots want different scores, and each score errs in its own way: the ridge's held-out
likelihood is noisy on few images, LogME's evidence is steady but judges a linear regression, 1-NN sees what no linear
head does. `tests/studies/default_order` measures this and its rivals.
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
    """How many standard errors a model is above the average of the models, mean over PARTS.

        combined_m = 1/3 sum_k (s_mk - mean_m s_mk) / e_k,  e_k^2 = mean_m SE(s_mk - mean_m s_mk)^2

    with the standard errors of differences over the same images. Dividing by noise, not by the spread of the models,
    lets a score that tells the models apart count for more than one that does not, and a hopeless model in the zoo
    does not change how the others compare. It says nothing of a model by itself: among other models it is another
    number. More images make differences larger.

    Args:
        scores: each model's scores by name, PARTS among them, from the same images.
        labels: the images' classes, [N].

    Returns:
        One a model; its terms take the e_k as given.
    """
    total = np.zeros((len(scores), len(labels)))
    for part in PARTS:
        terms = np.stack([of_model[part].terms for of_model in scores])
        apart = terms - terms.mean(axis=0)
        errors = [standard_error(difference, labels) or 0.0 for difference in apart]
        noise = float(np.sqrt(np.mean(np.square(errors))))
        # What rounding leaves of models that are alike is no noise.
        if noise > 1e-12 * float(np.abs(terms).max()):
            total += apart / noise / len(PARTS)
    widths = [of_model[PARTS[0]].n_source for of_model in scores]
    return [mean_of(COMBINED, terms, labels, width, {}) for terms, width in zip(total, widths, strict=True)]
