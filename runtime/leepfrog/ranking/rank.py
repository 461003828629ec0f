"""Rank models on a labelled image set."""

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
from leepfrog.ranking.plan import LONG, plan
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
    """Options of a ranking.

    Attributes:
        by: score that decides the order instead of an expected accuracy: "combined" (see `leepfrog.ranking.combined`)
            or one of `leepfrog.scoring.registry`.
        scores: names of further scores, or "all". LEEP and leave-one-out LEEP are computed for every model with
            probabilities; the scores that decide the order are always computed.
        budget: upper limits on a model's cost; models that exceed them are marked, not excluded.
        racing: true to drop models early that are clearly behind on a sample of the images (see
            `leepfrog.ranking.racing`).
        goal: what the models are to be used for: "head" (retrained linear head), "few-shot" (class means of five
            images) or "finetune" (see `leepfrog.ranking.goals`). The expected accuracy for the goal decides the order.

    Raises:
        UsageError: a goal or score is unknown, or the score cannot decide a race.

    >>> import leepfrog
    >>> request = RankRequest(by="ridge", budget=leepfrog.Budget(size=20e6))
    >>> request.run("PHOTOS", "mobilenet_v2", leepfrog.RunContext()).ranked_by
    'ridge'
    """

    command: ClassVar = "rank"
    of_context: ClassVar = (*ModelsRequest.of_context, "costs")
    by: str | None = None
    scores: tuple[str, ...] = ()
    budget: Budget = NO_BUDGET
    racing: bool = False
    goal: str = HEAD

    def __post_init__(self) -> None:
        """Check the options."""
        rule = self.rule
        chosen_scores(self.scores)
        if not isinstance(self.budget, Budget):
            raise UsageError(f"budget must be a leepfrog.Budget, not {type(self.budget).__name__}")
        if self.racing:
            check_raceable(rule)

    @property
    def rule(self) -> Rule:
        """The criterion that decides the order."""
        return Rule(self.goal, self.by)

    @property
    def further(self) -> list[Definition]:
        """The scores to compute in addition to LEEP and leave-one-out LEEP."""
        names = [*self.scores, *(definition.name for definition in self.rule.reads)]
        return [definition for definition in chosen_scores(names) if definition.name not in ALWAYS]

    @property
    def computed(self) -> list[Definition]:
        """All scores to compute for models that provide the required outputs."""
        return [*chosen_scores(ALWAYS), *self.further]

    def run(self, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext) -> Ranking:
        """Rank the models on the images."""
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
    """Rank models by how well they are expected to transfer to labeled images, without training anything.

    Args:
        data: a folder with one subfolder per class, a CSV table of `file_name,label`, or an ImageSet.
        models: one or several names, wildcards, sources or files (see `find_models`); empty for all exported models.
        goal: what the models are to be used for: "head", "few-shot" or "finetune"; see `RankRequest` for this and the
            following options.
        by: score that decides the order; None for the expected accuracy for the goal.
        scores: one or more names of further scores, or "all".
        budget: upper limits on a model's cost.
        racing: true to drop models early that are clearly behind on a sample of the images.
        context: execution environment; None for the CPU of this machine.

    Returns:
        Ranking, best model first. Outputs are cached by content: a second run on the same images needs no inference.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.

    >>> ranking = rank("PHOTOS", ["mobilenet_v2", "efficientnet_lite0"])
    >>> ranking.n_images, ranking.ranked_by
    (48, 'head_accuracy')
    >>> [model.name for model in ranking.tied]
    ['mobilenet_v2', 'efficientnet_lite0']
    """
    request = RankRequest(by, several(scores), NO_BUDGET if budget is None else budget, racing, goal)
    return request.run(data, models, context or RunContext())


def ranked_outputs(
    request: RankRequest, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext
) -> tuple[Ranking, Outputs]:
    """Return a ranking and the underlying outputs, for callers that also explain it."""
    recorder = Recorder(context)
    context = recorder.context
    warming = threading.Thread(target=_warm_up, daemon=True)
    inference, costs = Inference(context), CostTable(context, before=warming.join)
    images, candidates = find_inputs(data, models)
    _check_readable(request, candidates)
    warming.start()
    if request.budget.needs_costs:
        _limits_broken(request.budget, candidates, costs)  # fail on unknown costs before any other work

    hashed = hash_images(images, context)
    _announce(request, hashed, candidates, inference, costs)
    chosen, race = _raced(request, hashed, candidates, inference, costs) if request.racing else (candidates, None)
    outputs = inference.run(hashed, chosen)
    costs.measure(chosen)
    scored = _score_models(outputs, request, context)
    receipt = recorder.receipt(request, images=outputs.hashed, models=candidates)
    return assembled(request, outputs, scored, costs, race, receipt), outputs


def _announce(
    request: RankRequest, hashed: HashedImages, candidates: Sequence[ModelFile], inference: Inference, costs: CostTable
) -> None:
    """Announce long inference with its duration, for which costs are measured first."""
    by_model = inference.missing(hashed, candidates)
    missing = [len(by_model[model.sha256]) for model in candidates]
    if sum(missing) < LONG:
        return
    costs.measure(candidates)
    known = [costs[model] for model in candidates]
    inference.context.progress.plan(plan(candidates, len(hashed.image_set), missing, known, request.racing))


def _check_readable(request: RankRequest, candidates: Sequence[ModelFile]) -> None:
    """Raise UsageError if a model lacks an output that the deciding scores need."""
    if any(definition.reads == PROBS_OUTPUT for definition in request.rule.reads):
        remedy = "; rank by a feature-based score such as ridge, or exclude these models with --models"
        refuse_without_probs(request.rule.decisive, candidates, remedy)


def _score_models(outputs: Outputs, request: RankRequest, context: RunContext) -> list[ScoredModel]:
    """Return the scores of each model on its own."""
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
    """Return the models that are within the budget and survive the race, and a record of the race."""
    broken = _limits_broken(request.budget, candidates, costs)
    inside = [model for model in candidates if not broken.get(model.name)]
    if not inside:
        raise UsageError("no model is within the budget, so there is nothing to race; omit --race to rank all models")
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
    """Return the budget limits that each model exceeds, by model name; without a budget, measure nothing."""
    if budget == NO_BUDGET:
        return {}
    costs.measure(candidates)
    broken = {}
    for model in candidates:
        cost = costs[model]
        limits = budget.exceeded(cost, model.size)
        # A model that exceeds limits only by values in doubt may still be the best, so it takes part in the race.
        broken[model.name] = limits if set(limits) - set(cost.doubtful if cost else ()) else ()
    return broken


def _warm_up() -> None:
    """Compile the kernels of the scores, or load them from Numba's cache, while images are decoded."""
    probs, labels = np.full((4, 2), 0.5, np.float32), np.array([0, 0, 1, 1])
    with contextlib.suppress(Exception):  # errors here recur and are reported where the kernels are needed
        leep(probs, labels)
        resampled_means(leep_loo(probs, labels).terms[:, None], labels, replicates=1)
