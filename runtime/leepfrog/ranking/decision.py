"""Decide the order of models by the expected accuracy for a goal or by a score, and scale scores across models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import check_name
from leepfrog.errors import UsageError
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.ranking.expectation import Expectation
from leepfrog.ranking.goal_names import GOAL_NAMES
from leepfrog.ranking.goals import GOALS, Goal
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.registry import SCORES, chosen_scores
from leepfrog.scoring.score import Score


@dataclasses.dataclass(frozen=True)
class Rule:
    """The criterion that decides the order of models.

    Attributes:
        goal: what the models are to be used for, one of GOAL_NAMES.
        by: name of the deciding score; None for the expected accuracy for the goal.

    Raises:
        UsageError: the goal or the score is unknown.
    """

    goal: str
    by: str | None = None

    def __post_init__(self) -> None:
        """Check that the goal and the score exist."""
        check_name("goal", self.goal, GOAL_NAMES)
        if self.by in GOAL_NAMES:
            raise UsageError(f"score {self.by!r} is unknown; it is a goal: --goal {self.by}, without --by")
        if self.by is not None:
            check_name("score", self.by, (COMBINED, *SCORES))

    @property
    def of_goal(self) -> Goal | None:
        """The goal, if its expected accuracy decides; otherwise None."""
        return GOALS[self.goal] if self.by is None else None

    @property
    def decisive(self) -> str:
        """Name of the deciding score among the scores returned by `decide`."""
        return self.by or GOALS[self.goal].accuracy

    @property
    def reads(self) -> list[Definition]:
        """The scores that every model must have."""
        if self.by is None:
            return chosen_scores(GOALS[self.goal].reads)
        return chosen_scores(PARTS if self.by == COMBINED else self.by)

    def decide(self, scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> Decision:
        """Compare models and return their scores, including those that depend on the other models.

        Args:
            scores: scores of each model by name, including those that the rule reads.
            labels: class index of each image, [N], in the order of the scores' terms.
        """
        compared = scaled(scores, labels)
        expected: Expectation | None = None
        if self.by == COMBINED:
            _add(compared, combined(scores, labels))
        elif self.of_goal is not None:
            expected = self.of_goal.expectation(scores, labels)
            read = [of_model[self.of_goal.reads[0]] for of_model in scores]
            _add(compared, self.of_goal.scores(expected, labels, read))
        return Decision(self.decisive, compared, expected)


@dataclasses.dataclass(frozen=True, eq=False)
class Decision:
    """Scores of models after comparison.

    Attributes:
        by: name of the score that decides the order.
        scores: scores of each model by name.
        expected: expected accuracies of the models, if they decide the order; otherwise None.
    """

    by: str
    scores: list[dict[str, Score]]
    expected: Expectation | None

    @property
    def deciding(self) -> list[Score]:
        """The deciding score of each model."""
        return [of_model[self.by] for of_model in self.scores]


def scaled(scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> list[dict[str, Score]]:
    """Return each model's scores by name, with relative ones (`Definition.among`) scaled across models."""
    compared = [dict(of_model) for of_model in scores]
    for name in dict.fromkeys(name for of_model in scores for name in of_model):
        definition = SCORES.get(name)
        if definition is not None and definition.among is not None:
            having = [of_model for of_model in compared if name in of_model]
            _add(having, definition.among([of_model[name] for of_model in having], labels))
    return compared


def is_relative(name: str) -> bool:
    """Return whether a score depends on the other models in the ranking."""
    return name not in SCORES or SCORES[name].among is not None


def _add(scores: list[dict[str, Score]], further: Sequence[Score]) -> None:
    for of_model, score in zip(scores, further, strict=True):
        of_model[score.name] = score
