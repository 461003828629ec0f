"""Baselines that rank models without looking at any image; a useful score must beat them.

On zoos of common ImageNet networks they beat plain LEEP, so `validate` reports them alongside the scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

# Number of ImageNet classes, without and with a background class.
IMAGENET = (1000, 1001)


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """The facts about a model that baselines use.

    Attributes:
        n_source: number of source classes; None if the model outputs no class probabilities.
        n_parameters: number of parameters.
        top1: published ImageNet top-1 accuracy in percent, if known.
    """

    n_source: int | None
    n_parameters: int
    top1: float | None


def _static(model: ModelFacts) -> float | None:
    """Return a value for a fixed order: ImageNet models before others, larger models first."""
    if model.n_source is None:
        return None
    return model.n_parameters + (1e15 if model.n_source in IMAGENET else 0.0)


# Higher is better; None if unknown.
BASELINES: dict[str, Callable[[ModelFacts], float | None]] = {
    "top1": lambda model: model.top1,
    "parameters": lambda model: float(model.n_parameters),
    "static": _static,
}
