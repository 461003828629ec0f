"""Scores of a part of the images, where all would be too many."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from leepfrog.draws import members_of, shuffled
from leepfrog.scoring.score import Score

MOST_IMAGES = 5_000
"""Scores that need a model's outputs as a whole take this many images at most.

Their errors are small by then, and what is held (5 kB an image for 1,280 features) stops growing.
"""


def drawn_in_proportion(labels: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Positions of about `most` of labels [N], in order; each class its share, none left out; all where N is less."""
    if len(labels) <= most:
        return np.arange(len(labels))
    share = most / len(labels)
    classes = shuffled(members_of(np.unique(labels, return_inverse=True)[1]), np.random.default_rng(seed))
    return np.sort(np.concatenate([members[: max(1, round(share * len(members)))] for members in classes]))


def spread_terms(score: Score, drawn: NDArray[np.int64], labels: NDArray[np.int64]) -> Score:
    """A score of a part of the images, with a term for each of all of them.

    Images that were not drawn get the mean of their class. The others' deviations from it are as much
    larger as they are fewer, so that the terms have the mean and the standard error of the images drawn.

    Args:
        score: of the images drawn.
        drawn: their positions, some of each class.
        labels: the classes of all images, [N].
    """
    if len(drawn) == len(labels):
        return score
    classes = np.unique(labels, return_inverse=True)[1]
    of_drawn, n_drawn = classes[drawn], np.bincount(classes[drawn])
    means = np.bincount(of_drawn, score.terms) / n_drawn
    terms = means[classes]
    terms[drawn] += (score.terms - means[of_drawn]) * (np.bincount(classes) / n_drawn)[of_drawn]
    terms += score.value - terms.mean()
    parts = {name: spread_terms(part, drawn, labels) for name, part in score.parts.items()}
    return dataclasses.replace(score, terms=terms, parts=parts)
