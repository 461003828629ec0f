"""What to choose by without looking at a single image: the rivals that any score must beat.

On zoos of common ImageNet networks they beat plain LEEP, so `validate` shows them beside the scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

# ImageNet with and without a class for the background.
IMAGENET = (1000, 1001)


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What baselines know of a model.

    Attributes:
        n_source: source classes; None where there are none.
        n_parameters: numbers in the weights.
        top1: published ImageNet top-1 in percent, if known.
    """

    n_source: int | None
    n_parameters: int
    top1: float | None


def _static(model: ModelFacts) -> float | None:
    """The fixed order: ImageNet's models before others, the biggest first."""
    if model.n_source is None:
        return None
    return model.n_parameters + (1e15 if model.n_source in IMAGENET else 0.0)


# More is better; None where it is not known.
BASELINES: dict[str, Callable[[ModelFacts], float | None]] = {
    "top1": lambda model: model.top1,
    "parameters": lambda model: float(model.n_parameters),
    "static": _static,
}
