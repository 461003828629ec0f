"""Subsampling of images, for scores that cannot handle all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from leepfrog.draws import members_of, shuffled
from leepfrog.scoring.score import Score

MOST_IMAGES = 5_000
"""Maximum number of images for scores that need all of a model's outputs in memory.

With this many images, sampling errors are small, and memory (5 kB per image for 1,280 features) stops growing.
"""


def drawn_in_proportion(labels: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Return sorted positions of about `most` of the images with labels [N], drawn from every class in proportion.

    Every class keeps at least one image. All positions are returned if N is at most `most`.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    share = most / len(labels)
    classes = shuffled(members_of(np.unique(labels, return_inverse=True)[1]), np.random.default_rng(seed))
    return np.sort(np.concatenate([members[: max(1, round(share * len(members)))] for members in classes]))


def spread_terms(score: Score, drawn: NDArray[np.int64], labels: NDArray[np.int64]) -> Score:
    """Return a score of a subsample with terms for all images.

    Images that were not drawn get the mean of their class. Deviations of drawn images from it are scaled up by the
    inverse of the fraction drawn, so that the terms keep the mean and the standard error of the subsample.

    Args:
        score: score of the drawn images.
        drawn: positions of the drawn images, some of each class.
        labels: class of each of all images, [N].
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
