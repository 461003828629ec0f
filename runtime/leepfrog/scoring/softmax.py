"""Softmax and its kin, without overflow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_sum_exp(logits: Floats) -> Floats:
    """log sum exp of the rows of [N, C], [N]."""
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))


def log_softmax(logits: Floats) -> Floats:
    """log(exp(logits) / sum exp(logits)) along the rows of [N, C]."""
    return np.asarray(logits - log_sum_exp(logits)[:, None])


def softmax(logits: Floats) -> Floats:
    """exp(logits) / sum exp(logits) along the rows of [N, C]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
