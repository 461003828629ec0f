"""Random draws of images, stratified by class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


def members_of(labels: NDArray[np.int64], n_classes: int | None = None) -> list[Positions]:
    """Return the positions of each class's images, in ascending order.

    Args:
        labels: class index of each image, [N] in 0..C-1.
        n_classes: number of classes, C; None for the largest label plus 1.

    >>> members_of(np.array([1, 0, 1]))
    [array([1]), array([0, 2])]
    """
    counts = np.bincount(labels, minlength=n_classes or 0)
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


def shuffled(members: Iterable[Positions], rng: np.random.Generator) -> Iterator[Positions]:
    """Yield each class's positions in random order; the first n are a draw of n images without replacement.

    Classes are shuffled lazily, so the caller may draw other numbers from `rng` in between.
    """
    return (rng.permutation(positions) for positions in members)
