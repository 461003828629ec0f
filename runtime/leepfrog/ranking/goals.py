"""What a model is wanted for, and what tells how well it will do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.ranking.expectation import Calibration, Expectation, Statistic, expectation
from leepfrog.ranking.goal_names import FEW_SHOT, FEW_SHOT_ACCURACY, FINETUNE, HEAD, HEAD_ACCURACY
from leepfrog.scoring.score import Score, mean_of


@dataclasses.dataclass(frozen=True)
class Goal:
    """A use of a model.

    Attributes:
        name: on the command line and in results.
        accuracy: the name of the expected accuracy among a model's scores.
        calibration: how it follows from what the images show.
    """

    name: str
    accuracy: str
    calibration: Calibration

    @property
    def reads(self) -> list[str]:
        """The scores that it follows from."""
        return list(dict.fromkeys(statistic.score for statistic in self.calibration.statistics))

    def expectation(self, scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> Expectation:
        """What to expect of models, by their scores and the images' classes [N]."""
        return expectation(scores, labels, self.calibration)

    def scores(self, expected: Expectation, labels: NDArray[np.int64], n_source: Sequence[int]) -> list[Score]:
        """The expected accuracies as scores, with their intervals."""
        return [
            dataclasses.replace(
                mean_of(self.accuracy, terms, labels, width, {}), value=float(value), interval=(float(low), float(high))
            )
            for value, (low, high), terms, width in zip(
                expected.accuracy, expected.interval, expected.terms, n_source, strict=True
            )
        ]


# All numbers are from tests/studies/default_order, fitted to all its sets and networks.
_HEAD = Calibration(
    statistics=(
        Statistic("linear_probe", None, True, 1.0, 0.975),
        Statistic("linear_probe", "likelihood", False, 2.3, 0.93),
        Statistic("knn", None, True, 0.8, 0.90),
    ),
    spread=0.08, weight=4.0, shift=0.004, shift_of_few=0.22, common=0.012, common_of_few=0.25, shared=0.4,
    noise_of_few=4.0,
)  # fmt: skip
_FEW_SHOT = Calibration(
    statistics=(Statistic("few_shot", None, True, 1.0, 0.995),),
    spread=0.08, weight=4.0, shift=0.0, shift_of_few=0.10, common=0.004, common_of_few=0.12, shared=0.0,
    noise_of_few=2.0,
)  # fmt: skip

GOALS = {
    goal.name: goal
    for goal in (
        Goal(HEAD, HEAD_ACCURACY, _HEAD),
        Goal(FEW_SHOT, FEW_SHOT_ACCURACY, _FEW_SHOT),
        Goal(FINETUNE, HEAD_ACCURACY, _HEAD),
    )
}
"""By name."""
