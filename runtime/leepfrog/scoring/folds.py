"""Stratified folds for cross-validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fold_of(labels: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Assign each image to a fold, [N]; the number of images per class differs by at most one between folds."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % n_folds
    return folds
