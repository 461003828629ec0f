"""Folds of a cross-validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fold_of(labels: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each image [N], each fold with its share of every class to within one image."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % n_folds
    return folds
