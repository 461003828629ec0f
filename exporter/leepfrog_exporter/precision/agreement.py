"""Agreement of a lower-precision model with its float32 parent on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from leepfrog.inference.model import BatchOutputs, Session
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, order=True)
class Agreement:
    """Agreement of two models' outputs for the same images; greater is better.

    Attributes:
        top1: fraction of images with the same top source class; None if there are no source classes.
        features: mean cosine similarity of the two models' features of an image.
        n_images: number of images compared.
    """

    top1: float | None
    features: float
    n_images: int

    def as_dict(self) -> dict[str, Any]:
        """Return the agreement as JSON-ready values."""
        same = {} if self.top1 is None else {"top1_agreement": self.top1}
        return same | {"features_cosine": self.features, "n_inputs": self.n_images}


def outputs_of(session: Session, images: Sequence[NDArray[np.float32]]) -> BatchOutputs:
    """Run n images [1, 3, H, W] one by one; return probs [n, Z], None if the model has none, and features [n, D]."""
    outputs = [session.run(image) for image in images]
    probs = [predictions for predictions, _ in outputs if predictions is not None]
    return np.concatenate(probs) if probs else None, np.concatenate([features for _, features in outputs])


def agreement(parent: BatchOutputs, variant: BatchOutputs) -> Agreement:
    """Compare two models' outputs for the same images."""
    (probs, features), (other_probs, other_features) = parent, variant
    a, b = features.astype(np.float64), other_features.astype(np.float64)
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.where(sizes > 0, (a * b).sum(axis=1) / np.where(sizes > 0, sizes, 1.0), (a == b).all(axis=1))
    same = None
    if probs is not None and other_probs is not None:
        same = float((probs.argmax(axis=1) == other_probs.argmax(axis=1)).mean())
    return Agreement(same, float(cosines.mean()), len(features))
