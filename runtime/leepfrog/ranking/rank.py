"""Rank models on a labelled set of images."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath, several
from leepfrog.costs.measured import CostTable
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import HashedImages, hash_images
from leepfrog.execution.outputs import Inference, Outputs
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.metadata import PROBS_OUTPUT
from leepfrog.inference.model import ModelFile, refuse_without_probs
from leepfrog.inference.model_lookup import find_inputs
from leepfrog.ranking.assembly import assembled
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.decision import Rule
from leepfrog.ranking.goal_names import HEAD
from leepfrog.ranking.model_scores import ALWAYS, ScoredModel, score_model
from leepfrog.ranking.racing import Race, Standing, check_raceable, run_race
from leepfrog.ranking.result import Ranking
from leepfrog.receipts.recorder import Recorder
from leepfrog.receipts.request import ModelsRequest
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.parallel import scored_side_by_side
from leepfrog.scoring.registry import chosen_scores
from leepfrog.scoring.scores.leep import leep
from leepfrog.scoring.scores.leep_loo import leep_loo
from leepfrog.scoring.uncertainty import resampled_means

NO_BUDGET = Budget()


@dataclasses.dataclass(frozen=True)
class RankRequest(ModelsRequest):
    """What a ranking is asked for.

    Attributes:
        by: a score that decides the order instead of an expected accuracy: "combined" (see `leepfrog.ranking.combined`)
            or one of `leepfrog.scoring.registry`.
        scores: further scores by name, or "all". LEEP and leave-one-out LEEP are computed for every model with
            probabilities, and the scores that decide the order always.
        budget: the most that a model may cost; those that cost more are marked, not left out.
        racing: models clearly behind on some of the images do not see the others (see `leepfrog.ranking.racing`).
        goal: what the models are wanted for: "head" (a linear head is retrained), "few-shot" (class means of five
            images) or "finetune" (see `leepfrog.ranking.goals`). The accuracy to expect for it decides the order.

    Raises:
        UsageError: a goal or score is unknown, or cannot decide a race.
    """

    command: ClassVar = "rank"
    of_context: ClassVar = (*ModelsRequest.of_context, "costs")
    by: str | None = None
    scores: tuple[str, ...] = ()
    budget: Budget = NO_BUDGET
    racing: bool = False
    goal: str = HEAD

    def __post_init__(self) -> None:
        """Refuse what cannot be ranked by."""
        rule = self.rule
        chosen_scores(self.scores)
        if not isinstance(self.budget, Budget):
            raise UsageError(f"budget must be a leepfrog.Budget, not {type(self.budget).__name__}")
        if self.racing:
            check_raceable(rule)

    @property
    def rule(self) -> Rule:
        """What decides the order."""
        return Rule(self.goal, self.by)

    @property
    def further(self) -> list[Definition]:
        """The scores to compute besides LEEP and leave-one-out LEEP."""
        names = [*self.scores, *(definition.name for definition in self.rule.reads)]
        return [definition for definition in chosen_scores(names) if definition.name not in ALWAYS]

    @property
    def computed(self) -> list[Definition]:
        """All scores to compute, for models that put out what they read."""
        return [*chosen_scores(ALWAYS), *self.further]

    def run(self, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext) -> Ranking:
        """The ranking of these models on these images."""
        return ranked_outputs(self, data, models, context)[0]


def rank(
    data: ImageSet | StrPath,
    models: StrPath | Sequence[StrPath] = (),
    *,
    goal: str = HEAD,
    by: str | None = None,
    scores: str | Sequence[str] = (),
    budget: Budget | None = None,
    racing: bool = False,
    context: RunContext | None = None,
) -> Ranking:
    """Rank models by how well they are expected to transfer to labelled images, without training anything.

    Args:
        data: a folder with one folder a class, a CSV table of `file_name,label`, or an ImageSet.
        models: one or several names, wildcards, sources or files (see `find_models`); empty for all exported models.
        goal: what the models are wanted for: "head", "few-shot" or "finetune". For this and the following, see
            `RankRequest`.
        by: a score that decides the order; None for the accuracy to expect for the goal.
        scores: one or several further scores by name, or "all".
        budget: the most that a model may cost.
        racing: models clearly behind on some of the images do not see the others.
        context: execution environment; None for the CPU of this machine.

    Returns:
        Ranking, best model first. Outputs are cached by content: a second run on the same images takes no inference.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    request = RankRequest(by, several(scores), NO_BUDGET if budget is None else budget, racing, goal)
    return request.run(data, models, context or RunContext())


def ranked_outputs(
    request: RankRequest, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext
) -> tuple[Ranking, Outputs]:
    """A ranking, and the outputs that it is made of, for callers that go on to explain it."""
    recorder = Recorder(context)
    context = recorder.context
    warming = threading.Thread(target=_warm_up, daemon=True)
    inference, costs = Inference(context), CostTable(context, before=warming.join)
    images, candidates = find_inputs(data, models)
    _check_readable(request, candidates)
    warming.start()
    if request.budget.needs_costs:
        _limits_broken(request.budget, candidates, costs)  # before all other work: an error where a cost is not known

    hashed = hash_images(images, context)
    chosen, race = _raced(request, hashed, candidates, inference, costs) if request.racing else (candidates, None)
    outputs = inference.run(hashed, chosen)
    costs.measure(chosen)
    scored = _score_models(outputs, request, context)
    receipt = recorder.receipt(request, images=outputs.hashed, models=candidates)
    return assembled(request, outputs, scored, costs, race, receipt), outputs


def _check_readable(request: RankRequest, candidates: Sequence[ModelFile]) -> None:
    """UsageError where a model lacks what decides the order."""
    if any(definition.reads == PROBS_OUTPUT for definition in request.rule.reads):
        remedy = "; rank by a score of features, such as ridge, or leave them out with --models"
        refuse_without_probs(request.rule.decisive, candidates, remedy)


def _score_models(outputs: Outputs, request: RankRequest, context: RunContext) -> list[ScoredModel]:
    """Every model's scores by itself."""
    context.progress.start("scoring", len(outputs.models))
    scored = []
    n_predictions = len(outputs.hashed.labels) * len(outputs.hashed.image_set.classes)
    for model in scored_side_by_side(
        lambda of_model: score_model(of_model, request.computed, 1), outputs, context.cores, n_predictions
    ):
        scored.append(model)
        context.progress.advance(1)
    return scored


def _raced(
    request: RankRequest, hashed: HashedImages, candidates: Sequence[ModelFile], inference: Inference, costs: CostTable
) -> tuple[Sequence[ModelFile], Race]:
    """The models that are left when those outside of the budget or clearly behind are gone, and what happened."""
    broken = _limits_broken(request.budget, candidates, costs)
    inside = [model for model in candidates if not broken.get(model.name)]
    if not inside:
        raise UsageError("no model is within the budget, so none can race; rank without --race shows them all")
    positions, rule = np.flatnonzero(hashed.used), request.rule

    def judge(alive: list[int], sample: NDArray[np.int64]) -> Standing:
        outputs = inference.run(hashed.part(positions[sample]), [inside[i] for i in alive])
        scores = [score_model(model_outputs, rule.reads, inference.context.cores).scores for model_outputs in outputs]
        labels = outputs.hashed.labels
        return Standing.of(rule.decide(scores, labels), labels)

    left, what_happened = run_race([model.name for model in inside], hashed.labels, judge)
    outside = tuple((name, limits) for name, limits in broken.items() if limits)
    return [inside[i] for i in left], dataclasses.replace(what_happened, outside=outside)


def _limits_broken(budget: Budget, candidates: Sequence[ModelFile], costs: CostTable) -> dict[str, tuple[str, ...]]:
    """The limits that each model breaks, by its name; nothing is measured where there is no budget."""
    if budget == NO_BUDGET:
        return {}
    costs.measure(candidates)
    broken = {}
    for model in candidates:
        cost = costs[model]
        limits = budget.exceeded(cost, model.size)
        # A model that is over a limit only by a value in doubt may still be the best: it races.
        broken[model.name] = limits if set(limits) - set(cost.doubtful if cost else ()) else ()
    return broken


def _warm_up() -> None:
    """Compile the scores' kernels, or load them from Numba's cache, while images decode."""
    probs, labels = np.full((4, 2), 0.5, np.float32), np.array([0, 0, 1, 1])
    with contextlib.suppress(Exception):  # what fails here fails again where it is needed, and is reported there
        leep(probs, labels)
        resampled_means(leep_loo(probs, labels).terms[:, None], labels, replicates=1)
