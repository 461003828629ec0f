"""Images drawn at random class by class, so that every class gets its share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


def members_of(labels: NDArray[np.int64], n_classes: int | None = None) -> list[Positions]:
    """Positions of each class's images, in ascending order.

    Args:
        labels: [N] in 0..C-1.
        n_classes: C; None for the largest label and 1.

    >>> members_of(np.array([1, 0, 1]))
    [array([1]), array([0, 2])]
    """
    counts = np.bincount(labels, minlength=n_classes or 0)
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


def shuffled(members: Iterable[Positions], rng: np.random.Generator) -> Iterator[Positions]:
    """Each class's positions in random order; the first n of them are n images drawn without replacement.

    A class is shuffled when it is asked for, so callers may draw other numbers in between.
    """
    return (rng.permutation(positions) for positions in members)
