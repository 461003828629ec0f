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


def spread_terms(score: Score, drawn: NDArray[np.int64], n: int) -> Score:
    """A score of the images `drawn` of n, its terms those of all.

    Images that were not drawn get the score itself, and deviations of the others are as much larger as they are fewer,
    so that means and standard errors are those of the images drawn.
    """
    if len(drawn) == n:
        return score
    terms = np.full(n, score.value)
    terms[drawn] += (score.terms - score.value) * (n / len(drawn))
    parts = {name: spread_terms(part, drawn, n) for name, part in score.parts.items()}
    return dataclasses.replace(score, terms=terms, parts=parts)
