"""What decides the order of models: the accuracy to expect for a goal, or a score; and scores that compare models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import check_name
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.ranking.expectation import Expectation
from leepfrog.ranking.goal_names import GOAL_NAMES
from leepfrog.ranking.goals import GOALS, Goal
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.registry import SCORES, chosen_scores
from leepfrog.scoring.score import Score


@dataclasses.dataclass(frozen=True)
class Rule:
    """What shall decide an order.

    Attributes:
        goal: what models are wanted for, one of GOAL_NAMES.
        by: the score that decides; None for the accuracy to expect for the goal.

    Raises:
        UsageError: either is unknown.
    """

    goal: str
    by: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot decide."""
        check_name("goal", self.goal, GOAL_NAMES)
        if self.by is not None:
            check_name("score", self.by, (COMBINED, *SCORES))

    @property
    def of_goal(self) -> Goal | None:
        """The goal, where it decides."""
        return GOALS[self.goal] if self.by is None else None

    @property
    def decisive(self) -> str:
        """The name of what decides, among the scores of `decide`."""
        return self.by or GOALS[self.goal].accuracy

    @property
    def reads(self) -> list[Definition]:
        """The scores that it needs of every model."""
        if self.by is None:
            return chosen_scores(GOALS[self.goal].reads)
        return chosen_scores(PARTS if self.by == COMBINED else self.by)

    def decide(self, scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> Decision:
        """The scores of several models once they are compared.

        Args:
            scores: each model's scores by name, those that the rule reads among them.
            labels: the images' classes, [N], in the order of the scores' terms.
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
    """Scores of models that have been compared.

    Attributes:
        by: the name of the score that decides the order.
        scores: each model's by name.
        expected: what to expect of the models, where that decides.
    """

    by: str
    scores: list[dict[str, Score]]
    expected: Expectation | None

    @property
    def deciding(self) -> list[Score]:
        """The score that decides, of each model."""
        return [of_model[self.by] for of_model in self.scores]


def scaled(scores: Sequence[Mapping[str, Score]], labels: NDArray[np.int64]) -> list[dict[str, Score]]:
    """Each model's scores by name, those that compare models (`Definition.among`) scaled over the models with them."""
    compared = [dict(of_model) for of_model in scores]
    for name in dict.fromkeys(name for of_model in scores for name in of_model):
        definition = SCORES.get(name)
        if definition is not None and definition.among is not None:
            having = [of_model for of_model in compared if name in of_model]
            _add(having, definition.among([of_model[name] for of_model in having], labels))
    return compared


def is_relative(name: str) -> bool:
    """Whether a score depends on the other models of a ranking."""
    return name not in SCORES or SCORES[name].among is not None


def _add(scores: list[dict[str, Score]], further: Sequence[Score]) -> None:
    for of_model, score in zip(scores, further, strict=True):
        of_model[score.name] = score
