"""Registration of scores by the decorators `of_probs` and `of_features`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import ArrayError
from leepfrog.scoring.sample import FeatureSample, ProbSample, Sample
from leepfrog.scoring.score import Score

OfProbs = TypeVar("OfProbs", bound=Callable[[ProbSample], Score])
Among = Callable[[Sequence[Score], NDArray[np.int64]], list[Score]]
OfFeatures = TypeVar("OfFeatures", bound=Callable[[FeatureSample], Score])


@dataclasses.dataclass(frozen=True)
class Definition:
    """Definition of a registered score.

    Attributes:
        name: name of the score on the command line and in results, and of its module and public function.
        reads: part of a sample that the score reads.
        title: what the score measures, for tables of scores.
        held_out: whether each image's term is predicted without that image, so that models can be compared on few
            images (see `leepfrog.ranking.racing`).
        function: computes the score of a checked sample.
        among: recomputes the scores of several models on images with labels [N] from the results of `function`, for
            scores that depend on the other models; None for all others.
    """

    name: str
    reads: Literal["probs", "features"]
    title: str
    held_out: bool
    function: Callable[[Any], Score]
    among: Among | None = None

    def of(self, sample: Sample) -> Score:
        """Compute the score of a sample; raise ArrayError if the sample lacks the part that the score reads."""
        part = sample.probs if self.reads == "probs" else sample.features
        if part is None:
            raise ArrayError(f"{self.name} needs {self.reads}, which were not given")
        return self.function(part)


DEFINED: dict[str, Definition] = {}
"""Scores whose modules have been imported. `leepfrog.scoring.registry` imports all of them."""


def of_probs(title: str, *, held_out: bool = False) -> Callable[[OfProbs], OfProbs]:
    """Register the decorated function as a score that reads predictions, under the name of its module.

    Args:
        title: see `Definition`.
        held_out: see `Definition`.
    """

    def register(function: OfProbs) -> OfProbs:
        _define(function, "probs", title, held_out)
        return function

    return register


def of_features(
    title: str, *, held_out: bool = False, among: Among | None = None
) -> Callable[[OfFeatures], OfFeatures]:
    """Register the decorated function as a score that reads features, under the name of its module.

    Args:
        title: see `Definition`.
        held_out: see `Definition`.
        among: see `Definition`.
    """

    def register(function: OfFeatures) -> OfFeatures:
        _define(function, "features", title, held_out, among)
        return function

    return register


def _define(
    function: Callable[[Any], Score],
    reads: Literal["probs", "features"],
    title: str,
    held_out: bool,
    among: Among | None = None,
) -> None:
    name = function.__module__.rpartition(".")[2]
    DEFINED[name] = Definition(name, reads, title, held_out, function, among)
