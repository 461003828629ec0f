"""How a score makes itself known: `of_probs` or `of_features` before its function."""

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
    """A score as the rest of the program knows it.

    Attributes:
        name: on the command line and in results; the name of its module, and of the public function in it.
        reads: which part of a sample.
        title: what it measures, for README's table of scores.
        held_out: whether each image's term leaves that image out of what predicts it, so that models can be compared on
            few images (see `leepfrog.ranking.racing`).
        function: the score of a checked sample.
        among: gives the scores of several models on images with labels [N], from what `function` gives of each, where
            a score compares models; None where it stands by itself.
    """

    name: str
    reads: Literal["probs", "features"]
    title: str
    held_out: bool
    function: Callable[[Any], Score]
    among: Among | None = None

    def of(self, sample: Sample) -> Score:
        """The score of a sample; ArrayError where it lacks what the score reads."""
        part = sample.probs if self.reads == "probs" else sample.features
        if part is None:
            raise ArrayError(f"{self.name} reads {self.reads}, which are not given")
        return self.function(part)


DEFINED: dict[str, Definition] = {}
"""The scores whose modules are imported. `leepfrog.scoring.registry` imports all of them."""


def of_probs(title: str, *, held_out: bool = False) -> Callable[[OfProbs], OfProbs]:
    """Register the function that follows as the score of its module's name, which reads predictions.

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
    """Register the function that follows as the score of its module's name, which reads features.

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
