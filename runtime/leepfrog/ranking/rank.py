"""Rank models on a labelled set of images."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath, check_name, several
from leepfrog.costs.measured import Costs
from leepfrog.errors import UsageError
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import HashedImages, hash_images
from leepfrog.execution.outputs import Inference, Outputs
from leepfrog.files import printable
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.local import find_both
from leepfrog.inference.metadata import PROBS_OUTPUT
from leepfrog.inference.model import ModelFile, refuse_without_probs
from leepfrog.ranking.budget import Budget, pareto_front
from leepfrog.ranking.certainty import certainty_of
from leepfrog.ranking.combined import COMBINED, PARTS, combined
from leepfrog.ranking.drift import drifts
from leepfrog.ranking.model_scores import ScoredModel, absent_scores, score_model
from leepfrog.ranking.racing import Race, check_raceable, race
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.receipts.recorder import Recorder
from leepfrog.receipts.request import Request
from leepfrog.scoring.definition import Definition
from leepfrog.scoring.registry import SCORES, chosen_scores
from leepfrog.scoring.scores.leep import leep
from leepfrog.scoring.scores.leep_loo import leep_loo
from leepfrog.scoring.subsample import MOST_IMAGES
from leepfrog.scoring.uncertainty import resampled_means

Floats = NDArray[np.float64]

ALWAYS = ("leep_loo", "leep")
NO_BUDGET = Budget()


@dataclasses.dataclass(frozen=True)
class RankRequest(Request):
    """What a ranking is asked for.

    Attributes:
        by: the score that decides the order: "combined" (see `leepfrog.ranking.combined`) or one of
            `leepfrog.scoring.registry`.
        scores: further scores by name, or "all"; LEEP, leave-one-out LEEP and what is combined are always there.
        budget: the most that a model may cost; those that cost more are marked, not left out.
        racing: models clearly behind on some of the images do not see the others (see `leepfrog.ranking.racing`).

    Raises:
        UsageError: a score is unknown, or cannot decide a race.
    """

    command: ClassVar = "rank"
    of_context: ClassVar = (*Request.of_context, "costs")
    by: str = COMBINED
    scores: tuple[str, ...] = ()
    budget: Budget = NO_BUDGET
    racing: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be ranked by."""
        check_name("score", self.by, (COMBINED, *SCORES))
        chosen_scores(self.scores)
        if not isinstance(self.budget, Budget):
            raise UsageError(f"budget must be a leepfrog.Budget, not {type(self.budget).__name__}")
        if self.racing:
            check_raceable(self.by)

    @property
    def deciding(self) -> list[Definition]:
        """The scores that decide the order."""
        return chosen_scores(PARTS if self.by == COMBINED else (self.by,))

    @property
    def further(self) -> list[Definition]:
        """The scores to compute besides LEEP and leave-one-out LEEP."""
        names = [*self.scores, *(definition.name for definition in self.deciding)]
        return [definition for definition in chosen_scores(names) if definition.name not in ALWAYS]

    def run(self, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext) -> Ranking:
        """The ranking; see `rank`."""
        return ranked_outputs(self, data, models, context)[0]


def rank(
    data: ImageSet | StrPath,
    models: StrPath | Sequence[StrPath] = (),
    *,
    by: str = COMBINED,
    scores: str | Sequence[str] = (),
    budget: Budget | None = None,
    racing: bool = False,
    context: RunContext | None = None,
) -> Ranking:
    """Rank models by how well they are expected to transfer to labelled images, without training anything.

    Args:
        data: a folder with one folder a class, a CSV table of `file_name,label`, or an ImageSet.
        models: one or several names, wildcards, sources or files (see `find_models`); empty for all exported models.
        by: the score that decides the order; see `RankRequest`, as of all until `context`.
        scores: one or several further scores by name, or "all".
        budget: the most that a model may cost.
        racing: models clearly behind on some of the images do not see the others.
        context: with what to work; None for this machine's CPU.

    Returns:
        Ranking, best model first. Outputs are cached by content: a second run on the same images takes no inference.

    Raises:
        UsageError, ModelError, DataSetError, ImageError, MachineError: see leepfrog.errors.
    """
    request = RankRequest(by, several(scores), NO_BUDGET if budget is None else budget, racing)
    return request.run(data, models, context or RunContext())


def ranked_outputs(
    request: RankRequest, data: ImageSet | StrPath, models: StrPath | Sequence[StrPath], context: RunContext
) -> tuple[Ranking, Outputs]:
    """A ranking, and the outputs that it is made of, for callers that go on to explain it."""
    recorder = Recorder(context)
    context = recorder.context
    costs = Costs(context)
    images, candidates = find_both(data, models)
    if any(definition.reads == PROBS_OUTPUT for definition in request.deciding):
        remedy = "; rank by a score of features, such as ridge, or leave them out with --models"
        refuse_without_probs(request.by, candidates, remedy)
    warming = threading.Thread(target=_warm_up, daemon=True)
    warming.start()
    hashed = hash_images(images, context)
    inference = Inference(context)

    racers, raced = candidates, None
    if request.racing:
        affordable = _Affordable.of(request.budget, candidates, costs)
        racers, raced = _race(request, hashed, affordable, inference, context)
    outputs = inference.run(hashed, racers)
    warming.join()  # costs are measured while this process does nothing else
    costs.measure(racers)
    scored = _score(outputs, request, context)
    return _assembled(request, outputs, scored, costs, raced, recorder, candidates), outputs


def _score(outputs: Outputs, request: RankRequest, context: RunContext) -> list[ScoredModel]:
    """Every model's scores, the default order's among them where that is asked for."""
    scored = []
    context.progress.start("scoring", len(outputs.models))
    for model in outputs:
        scored.append(score_model(model, request.further, context.cores))
        context.progress.advance(1)
    if request.by == COMBINED:
        decisive = combined([model.scores for model in scored], outputs.images.labels)
        scored = [
            dataclasses.replace(model, scores=model.scores | {COMBINED: score})
            for model, score in zip(scored, decisive, strict=True)
        ]
    return scored


def _assembled(
    request: RankRequest,
    outputs: Outputs,
    scored: Sequence[ScoredModel],
    costs: Costs,
    raced: Race | None,
    recorder: Recorder,
    candidates: Sequence[ModelFile],
) -> Ranking:
    """The result: models in order, how sure that is, who is within the budget and on the front."""
    by, budget, images, hashed = request.by, request.budget, outputs.images.images, outputs.images
    labels, counts = hashed.labels, hashed.counts
    changed = drifts(scored, costs, labels, by)
    ordered = sorted(scored, key=lambda each: -each.scores[by].value)
    certainty = certainty_of([each.model.name for each in ordered], [each.scores for each in ordered], labels, by)
    outside = [budget.exceeded(costs[each.model], each.model.size) for each in ordered]
    inside = [each for each, limits in zip(ordered, outside, strict=True) if not limits]
    front = pareto_front([each.scores[by].value for each in inside], [costs[each.model].latency for each in inside])
    on_front = {each.model.sha256 for each, on in zip(inside, front, strict=True) if on}
    rows = []
    for place, each in enumerate(ordered):
        model, (n_source, n_features) = each.model, each.outputs.widths
        rows.append(
            RankedModel(
                rank=place + 1,
                group=certainty.groups[place],
                tied_with=tuple(ordered[i].model.name for i in certainty.tied_with[place]),
                probability_best=certainty.probability_best[place],
                name=model.name,
                source=printable(model.metadata.source),
                licence=printable(model.metadata.licence),
                path=printable(model.path),
                sha256=model.sha256,
                scores=certainty.scores[place],
                n_source=n_source,
                n_features=n_features,
                n_parameters=model.metadata.n_parameters,
                top1=model.metadata.top1,
                size_bytes=model.size,
                macs=model.metadata.macs,
                cost=costs[model],
                outside=outside[place],
                on_front=model.sha256 in on_front,
                variant=model.metadata.variant,
                n_inferred=each.outputs.n_inferred,
            )
        )
    return Ranking(
        data=images.name,
        classes={name: int(n) for name, n in zip(images.classes, counts, strict=True)},
        n_images=len(labels),
        notes=(*images.notes, *outputs.notes(), *_notes(outputs, counts, request.further)),
        ranked_by=by,
        budget=budget,
        shown=tuple(definition.name for definition in chosen_scores(request.scores)),
        separation=certainty.separation,
        models=tuple(rows),
        drifts=tuple(changed),
        race=raced,
        receipt=recorder.receipt(request, images=hashed, models=candidates),
    )


@dataclasses.dataclass(frozen=True)
class _Affordable:
    """The models that may race, and by name those that may not, with the limits that they break."""

    models: list[ModelFile]
    outside: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, budget: Budget, candidates: Sequence[ModelFile], costs: Costs) -> _Affordable:
        """Measure the candidates if there is a budget; UsageError where none is within it."""
        broken: dict[str, tuple[str, ...]] = {}
        if budget != NO_BUDGET:
            costs.measure(candidates)
            # A model that is over a limit only by a value in doubt may still be the best: it races.
            for model in candidates:
                limits = budget.exceeded(costs[model], model.size)
                broken[model.name] = limits if set(limits) - set(costs[model].doubtful) else ()
        inside = [model for model in candidates if not broken.get(model.name)]
        if not inside:
            raise UsageError("no model is within the budget, so none can race; rank without --race shows them all")
        return cls(inside, tuple((name, limits) for name, limits in broken.items() if limits))


def _race(
    request: RankRequest, hashed: HashedImages, affordable: _Affordable, inference: Inference, context: RunContext
) -> tuple[list[ModelFile], Race]:
    """The models that are left when those clearly behind are gone, and what happened."""
    positions = np.flatnonzero(hashed.kept)

    def judge(alive: list[int], sample: NDArray[np.int64]) -> tuple[list[Floats], NDArray[np.int64]]:
        outputs = inference.run(hashed.part(positions[sample]), [affordable.models[i] for i in alive])
        scores = [score_model(model, request.deciding, context.cores).scores for model in outputs]
        labels = outputs.images.labels
        if request.by == COMBINED:
            return [score.terms for score in combined(scores, labels)], labels
        return [of_model[request.by].terms for of_model in scores], labels

    left, raced = race([model.name for model in affordable.models], hashed.labels, judge)
    return [affordable.models[i] for i in left], dataclasses.replace(raced, outside=affordable.outside)


def _notes(outputs: Outputs, counts: NDArray[np.int64], further: Sequence[Definition]) -> Iterator[str]:
    models = [each.model for each in outputs]
    yield from absent_scores(models, [*chosen_scores(ALWAYS), *further])
    once = int(np.count_nonzero(counts == 1))
    if once and any(model.metadata.has_probs for model in models):
        yield f"{once} class(es) have a single image, for which leave-one-out LEEP can only use its floor"
    if further and counts.sum() > MOST_IMAGES:
        names = ", ".join(definition.name for definition in further)
        yield f"{names}: from {MOST_IMAGES:,} of the images, each class its share"


def _warm_up() -> None:
    """Compile the scores' kernels, or load them from Numba's cache, while images decode."""
    probs, labels = np.full((4, 2), 0.5, np.float32), np.array([0, 0, 1, 1])
    with contextlib.suppress(Exception):  # what fails here fails again where it is needed, and is told there
        leep(probs, labels)
        resampled_means(leep_loo(probs, labels).terms[:, None], labels, replicates=1)
