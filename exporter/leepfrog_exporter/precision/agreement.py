"""How far a model in fewer bits agrees with its float32 parent on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from leepfrog.inference.model import Session
from numpy.typing import NDArray

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, order=True)
class Agreement:
    """What two models put out for the same images; more is better.

    Attributes:
        top1: part of the images that get the same first source class.
        features: mean cosine of the angle between the two models' features of an image.
        n_images: images compared.
    """

    top1: float
    features: float
    n_images: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {"top1_agreement": self.top1, "features_cosine": self.features, "n_inputs": self.n_images}


def outputs_of(session: Session, images: Sequence[NDArray[np.float32]]) -> Outputs:
    """probs [n, Z] and features [n, D] of n images [1, 3, H, W], run one by one."""
    found = [session.run(image) for image in images]
    return np.concatenate([probs for probs, _ in found]), np.concatenate([features for _, features in found])


def agreement(parent: Outputs, variant: Outputs) -> Agreement:
    """Compare two models' outputs for the same images."""
    (probs, features), (other_probs, other_features) = parent, variant
    a, b = features.astype(np.float64), other_features.astype(np.float64)
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.where(sizes > 0, (a * b).sum(axis=1) / np.where(sizes > 0, sizes, 1.0), (a == b).all(axis=1))
    same = probs.argmax(axis=1) == other_probs.argmax(axis=1)
    return Agreement(float(same.mean()), float(cosines.mean()), len(probs))
