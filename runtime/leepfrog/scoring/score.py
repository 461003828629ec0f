"""The result type of all scores."""

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
    """A score with its uncertainty and diagnostics.

    It can be formatted, converted to float, and compared with numbers and with scores of the same name.

    Attributes:
        name: name of the score, such as "leep".
        value: value of the score; higher is better.
        standard_error: standard error of `value` under sampling of images within classes; None for a single image.
        n_samples: number of images.
        n_source: number of source classes, or of features.
        n_target: number of target classes.
        diagnostics: numbers that help to judge the score, such as where data were scarce (see each score).
        terms: per-image terms whose mean is `value`, [N], in the order of the images (see
            `leepfrog.scoring.uncertainty`). Not written to JSON.
        interval: 90 % interval of `value` under sampling of images within classes; None if not requested. For an
            expected accuracy it also allows for what the images cannot show, which `standard_error` does not.
        parts: scores of the same images from which this score is computed, or which accompany it, by name. Not written
            to JSON.

    >>> score = Score("knn", 0.875, 0.05, n_samples=40, n_source=6, n_target=2)
    >>> f"{score:.2f}", score > 0.5, score == 0.875
    ('0.88', True, True)
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
        """Return the number to compare `value` with, or None if `other` is not comparable."""
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
        """Return the score as JSON-ready values."""
        return encode_fields(self)


def mean_of(
    name: str,
    terms: Floats,
    labels: NDArray[np.int64],
    n_source: int,
    diagnostics: Mapping[str, int | float],
    influence: Floats | None = None,
) -> Score:
    """Return a score that is the mean of per-image terms.

    Args:
        name: see `Score`.
        terms: term of each image, [N].
        labels: class index of each image, [N].
        n_source: see `Score`.
        diagnostics: see `Score`.
        influence: each image's effect on the score in addition to its own term, [N], up to a constant per class: its
            contribution to quantities that all terms depend on, such as a conditional. If None, these quantities are
            treated as fixed.
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
    """Return a score that is not a mean, given each image's influence on it, [N], up to a constant per class.

    The influence of an image is the derivative of the score with respect to the image's weight (weights sum to 1), or N
    times the loss in score when the image is removed.
    """
    return mean_of(name, np.full(len(influence), value), labels, n_source, diagnostics, influence)


def with_intervals(scores: Sequence[Score], labels: NDArray[np.int64]) -> list[Score]:
    """Return scores of one sample, with labels [N], with their 90 % intervals added."""
    bounds = intervals(resampled_means(np.stack([score.terms for score in scores], axis=1), labels))
    return [
        dataclasses.replace(score, interval=(float(low), float(high)))
        for score, (low, high) in zip(scores, bounds, strict=True)
    ]
