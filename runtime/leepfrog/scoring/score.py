"""What every score returns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leepfrog.codec import NOT_WRITTEN, encode_fields
from leepfrog.scoring.uncertainty import intervals, resampled_means, standard_error

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Score:
    """A score with its uncertainty and what a careful reader wants to know of how it came about.

    It can be formatted, converted to float, and compared with numbers and with scores of the same name.

    >>> score = Score("knn", 0.875, 0.05, n_samples=40, n_source=6, n_target=2)
    >>> f"{score:.2f}", score > 0.5, score == 0.875
    ('0.88', True, True)

    Attributes:
        name: the score's name, such as "leep".
        value: the score; higher is better.
        standard_error: standard error of `value` over images drawn class by class, None where there is but one.
        n_samples, n_source, n_target: images, source classes (or features) and target classes it was computed from.
        diagnostics: counts that say where the data were too thin (see each score).
        terms: [N], of which `value` is the mean, in the order of the images (see `leepfrog.scoring.uncertainty`). Not
            written out.
        interval: a 90 % interval of `value`, images drawn class by class; None where none was asked for. Of an expected
            accuracy it also allows for what the images cannot tell, which `standard_error` does not.
        parts: scores of the same images that this one is made of, or that come with it, by name. Not written out.
    """

    name: str
    value: float
    standard_error: float | None
    n_samples: int
    n_source: int
    n_target: int
    diagnostics: Mapping[str, int | float] = dataclasses.field(default_factory=dict)
    terms: Floats = dataclasses.field(
        default_factory=lambda: np.empty(0), repr=False, compare=False, metadata=NOT_WRITTEN
    )
    interval: tuple[float, float] | None = None
    parts: Mapping[str, Score] = dataclasses.field(
        default_factory=dict, repr=False, compare=False, metadata=NOT_WRITTEN
    )

    def __float__(self) -> float:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec) if spec else repr(self)

    def _beside(self, other: object) -> float | None:
        """The number that `value` is compared with; None for what it cannot be."""
        if isinstance(other, Score):
            return other.value if other.name == self.name else None
        return float(other) if isinstance(other, Real) else None

    def __lt__(self, other: object) -> bool:
        return NotImplemented if (number := self._beside(other)) is None else self.value < number

    def __le__(self, other: object) -> bool:
        return NotImplemented if (number := self._beside(other)) is None else self.value <= number

    def __gt__(self, other: object) -> bool:
        return NotImplemented if (number := self._beside(other)) is None else self.value > number

    def __ge__(self, other: object) -> bool:
        return NotImplemented if (number := self._beside(other)) is None else self.value >= number

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Score):
            return self.as_dict() == other.as_dict()
        return self.value == other

    def as_dict(self) -> dict[str, Any]:
        """The score as JSON-ready values."""
        return encode_fields(self)


def mean_of(
    name: str,
    terms: Floats,
    labels: NDArray[np.int64],
    n_source: int,
    diagnostics: Mapping[str, int | float],
    influence: Floats | None = None,
) -> Score:
    """A score that is a mean of per-image terms [N].

    Args:
        name: see `Score`.
        terms: [N].
        labels: [N].
        n_source: see `Score`.
        diagnostics: see `Score`.
        influence: what each image does to the score beside its own term [N], up to a constant per class: its part
            in what the terms were read from, such as a conditional. Without it, that is taken as given.
    """
    value = math.fsum(terms) / len(terms) + 0.0  # + 0.0 turns -0.0 into 0.0
    if influence is not None:
        terms = terms + (influence - influence.mean())
    return Score(
        name=name,
        value=value,
        standard_error=standard_error(terms, labels),
        n_samples=len(terms),
        n_source=n_source,
        n_target=int(np.count_nonzero(np.bincount(labels))),
        diagnostics=diagnostics,
        terms=terms,
    )


def with_influence(
    name: str,
    value: float,
    influence: Floats,
    labels: NDArray[np.int64],
    n_source: int,
    diagnostics: Mapping[str, int | float],
) -> Score:
    """A score that is not a mean, with each image's influence on it, [N], up to a constant per class.

    The influence is the derivative by the image's weight (a part of 1), or what N times the score loses without it.
    """
    return mean_of(name, np.full(len(influence), value), labels, n_source, diagnostics, influence)


def with_intervals(scores: Sequence[Score], labels: NDArray[np.int64]) -> list[Score]:
    """Scores of one sample, with labels [N], with their 90 % intervals."""
    bounds = intervals(resampled_means(np.stack([score.terms for score in scores], axis=1), labels))
    return [
        dataclasses.replace(score, interval=(float(low), float(high)))
        for score, (low, high) in zip(scores, bounds, strict=True)
    ]
