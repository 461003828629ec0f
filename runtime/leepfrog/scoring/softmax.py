"""Softmax and related functions, without overflow, in the precision of their input."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=np.floating[Any])


def log_sum_exp(logits: NDArray[F]) -> NDArray[F]:
    """Return log sum exp along the last axis of [..., C]."""
    top = logits.max(axis=-1)
    return np.asarray(top + np.log(np.exp(logits - top[..., None]).sum(axis=-1)))


def log_softmax(logits: NDArray[F]) -> NDArray[F]:
    """Return log(exp(logits) / sum exp(logits)) along the last axis of [..., C]."""
    return np.asarray(logits - log_sum_exp(logits)[..., None])


def softmax(logits: NDArray[F]) -> NDArray[F]:
    """Return exp(logits) / sum exp(logits) along the last axis of [..., C]."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
