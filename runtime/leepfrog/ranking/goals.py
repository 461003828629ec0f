"""Goals: the intended use of a model, and the calibration of its expected accuracy."""

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
    """An intended use of models.

    Attributes:
        name: name on the command line and in results.
        accuracy: name of the expected accuracy among a model's scores.
        calibration: parameters of the expected accuracy.
    """

    name: str
    accuracy: str
    calibration: Calibration

    @property
    def reads(self) -> list[str]:
        """Names of the scores that the expected accuracy is computed from."""
        return list(dict.fromkeys(statistic.score for statistic in self.calibration.statistics))

    def expectation(self, scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> Expectation:
        """Return the posterior of the models' accuracies, given their scores and the class indices [N]."""
        return expectation(scores, labels, self.calibration)

    def scores(self, expected: Expectation, labels: NDArray[np.int64], read: Sequence[Score]) -> list[Score]:
        """Return the expected accuracies as scores with intervals; `read` holds a source score of each model."""
        found = []
        for i, source in enumerate(read):
            score = mean_of(self.accuracy, expected.terms[i], labels, source.n_source, {})
            low, high = expected.interval[i].tolist()
            value = float(expected.accuracy[i])
            found.append(dataclasses.replace(score, value=value, interval=(low, high), n_samples=source.n_samples))
        return found


# Fitted to all image sets and networks of tests/studies/default_order, except common, common_of_few, shared and
# noise_of_few, which were set by hand.
_HEAD = Calibration(
    statistics=(
        Statistic("linear_probe", None, True, 1.0, 0.91),
        Statistic("linear_probe", "likelihood", False, 2.4, 0.91),
        Statistic("ridge", None, False, 2.2, 0.90),
    ),
    spread=0.077, weight=4.0, shift=0.0, shift_of_few=0.24, common=0.022, common_of_few=0.25, shared=0.4,
    noise_of_few=4.0,
)  # fmt: skip
_FEW_SHOT = Calibration(
    statistics=(Statistic("few_shot", None, True, 1.0, 0.98),),
    spread=0.083, weight=4.0, shift=-0.004, shift_of_few=0.12, common=0.004, common_of_few=0.12, shared=0.0,
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
"""Goals by name."""
