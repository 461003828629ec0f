"""What every score returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Score:
    """A score with its uncertainty and what a careful reader wants to know of how it came about.

    Attributes:
        name: the score's name, such as "leep".
        value: the score; higher is better.
        standard_error: standard error of `value` over images, None where no estimate is made.
        n_samples, n_source, n_target: images, source classes (or features) and target classes it was computed from.
        diagnostics: counts that say where the data were too thin (see each score).
        terms: [N], of which `value` is the mean, in the order of the images; None for other scores. Not written out.
    """

    name: str
    value: float
    standard_error: float | None
    n_samples: int
    n_source: int
    n_target: int
    diagnostics: Mapping[str, int | float] = dataclasses.field(default_factory=dict)
    terms: NDArray[np.float64] | None = dataclasses.field(default=None, repr=False, compare=False)

    def __float__(self) -> float:
        return self.value

    def as_dict(self) -> dict[str, Any]:
        """The score as JSON-ready values."""
        found = dataclasses.asdict(dataclasses.replace(self, terms=None))
        del found["terms"]
        return {**found, "diagnostics": dict(self.diagnostics)}


def mean_of(
    name: str, terms: NDArray[np.float64], n_source: int, n_target: int, diagnostics: Mapping[str, int | float]
) -> Score:
    """A score that is a mean of per-image terms [N], with the standard error of that mean."""
    n = len(terms)
    return Score(
        name=name,
        value=math.fsum(terms) / n + 0.0,  # + 0.0 turns -0.0 into 0.0
        standard_error=float(np.std(terms, ddof=1)) / math.sqrt(n) if n > 1 else None,
        n_samples=n,
        n_source=n_source,
        n_target=n_target,
        diagnostics=diagnostics,
        terms=terms,
    )
