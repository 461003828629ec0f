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

    def scores(self, expected: Expectation, labels: NDArray[np.int64], read: Sequence[Score]) -> list[Score]:
        """The expected accuracies as scores, with their intervals; `read` is what they follow from, by model."""
        found = []
        for i, source in enumerate(read):
            score = mean_of(self.accuracy, expected.terms[i], labels, source.n_source, {})
            low, high = expected.interval[i].tolist()
            value = float(expected.accuracy[i])
            found.append(dataclasses.replace(score, value=value, interval=(low, high), n_samples=source.n_samples))
        return found


# From tests/studies/default_order: fitted to all its sets and networks, but for common_of_few, shared and noise_of_few,
# which were chosen by hand.
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
