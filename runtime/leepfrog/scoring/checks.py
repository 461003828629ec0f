"""Validation of the arrays passed to scores. An invalid array raises an error and never yields a number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.arrays import as_array, class_labels, numbers
from leepfrog.errors import ArrayError
from leepfrog.kernels.rows import ROW_SUM_TOLERANCE, sums_and_negatives


def checked_probs(probs: ArrayLike) -> NDArray[np.floating]:
    """Check that every row of probabilities [N, Z] is a distribution over at least two source classes.

    Raises:
        ArrayError: wrong shape or dtype; no rows; NaN, infinite or negative entries; or rows that do not sum to 1.
    """
    array = as_array(probs, "probs")
    if array.dtype == object:
        raise ArrayError("probs contains Python objects; pass a float32 or float64 array [N, Z]")
    if array.ndim != 2:
        raise ArrayError(f"probs has shape {list(array.shape)}; it must be [N, Z]: images by source classes")
    if array.dtype == np.float16:
        raise ArrayError("probs is float16, which rounds small probabilities to 0; compute the softmax in float32")
    if array.dtype not in (np.float32, np.float64):
        raise ArrayError(f"probs has dtype {array.dtype}; it must be float32 or float64")
    if array.shape[0] == 0:
        raise ArrayError("probs has no rows")
    if array.shape[1] < 2:
        raise ArrayError(f"probs has {array.shape[1]} source class(es); a score needs at least 2")
    sums = np.empty(array.shape[0])
    negatives = np.empty(array.shape[0], np.int64)
    sums_and_negatives(array, sums, negatives)
    wrong = ~(np.abs(sums - 1.0) <= ROW_SUM_TOLERANCE) | (negatives > 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        if not np.isfinite(sums[row]):
            what = "contains NaN or infinity"
        elif negatives[row]:
            what = "has negative entries (logits? apply a softmax first)"
        else:
            what = f"sums to {sums[row]:.6g}, not 1 (logits? apply a softmax first)"
        raise ArrayError(f"probs row {row} {what}; {int(wrong.sum())} of {len(sums)} rows are invalid")
    return array


def checked_features(features: ArrayLike) -> NDArray[np.floating]:
    """Check that features [N, D] are finite numbers; integers are converted to float64.

    Raises:
        ArrayError: wrong shape or dtype; no rows or columns; NaN or infinity.
    """
    array = numbers(features, "features")
    if array.ndim != 2:
        raise ArrayError(f"features has shape {list(array.shape)}; it must be [N, D]: images by features")
    if not array.size:
        raise ArrayError(f"features has shape {list(array.shape)}; it must have at least one row and one column")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ArrayError(
            f"features row {row} contains NaN or infinity; {int(bad.sum())} of {len(bad)} rows are invalid"
        )
    return array


def checked_labels(labels: ArrayLike, n_samples: int) -> tuple[NDArray[np.int64], int]:
    """Return labels [N] as class indices 0..C-1, in the sorted order of the labels, and the number of classes C.

    Raises:
        ArrayError: see `class_labels`; also for labels of another length than `n_samples`, or negative labels.
    """
    array = class_labels(labels)
    if len(array) != n_samples:
        raise ArrayError(f"labels has {len(array)} entries for {n_samples} rows")
    if array.dtype.kind == "i" and len(array) and int(array.min()) < 0:
        raise ArrayError(f"labels contains {int(array.min())}; class indices start at 0 (drop unlabelled rows first)")
    distinct, indices = np.unique(array, return_inverse=True)
    return indices.astype(np.int64), len(distinct)
