"""Assemble a ranking from scored models and their costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from leepfrog.costs.measured import CostTable
from leepfrog.execution.outputs import Outputs
from leepfrog.files import printable
from leepfrog.ranking.budget import pareto_front
from leepfrog.ranking.certainty import Certainty, certainty_of
from leepfrog.ranking.model_scores import ScoredModel
from leepfrog.ranking.notes import absent_scores, lacking, thin_data
from leepfrog.ranking.racing import Race
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.variants import drifts
from leepfrog.receipts.receipt import Receipt
from leepfrog.scoring.registry import chosen_scores

if TYPE_CHECKING:
    from leepfrog.ranking.rank import RankRequest


def assembled(
    request: RankRequest,
    outputs: Outputs,
    models: Sequence[ScoredModel],
    costs: CostTable,
    race: Race | None,
    receipt: Receipt,
) -> Ranking:
    """Return the ranking: ordered models with certainty, budget violations and the Pareto front.

    Args:
        request: options of the ranking.
        outputs: outputs of the models.
        models: models with their scores, in any order.
        costs: measured costs of the models.
        race: record of the race; None without racing.
        receipt: receipt of the ranking.
    """
    images, labels, rule = outputs.hashed.image_set, outputs.hashed.labels, request.rule
    decision = rule.decide([scored.scores for scored in models], labels)
    certainty = certainty_of([scored.model.name for scored in models], decision, labels)
    ordered = [
        dataclasses.replace(models[i], scores=scores)
        for i, scores in zip(certainty.order, certainty.scores, strict=True)
    ]
    return Ranking(
        data=images.name,
        classes={name: int(n) for name, n in zip(images.classes, outputs.hashed.counts, strict=True)},
        n_images=len(labels),
        notes=(*images.notes, *outputs.notes(), *_notes(outputs, request)),
        ranked_by=rule.decisive,
        goal=None if rule.of_goal is None else rule.goal,
        budget=request.budget,
        shown=tuple(definition.name for definition in chosen_scores(request.scores)),
        separation=certainty.separation,
        models=tuple(_rows(request, ordered, certainty, costs)),
        drifts=tuple(drifts(ordered, costs, labels, rule.decisive)),
        race=race,
        receipt=receipt,
    )


def _rows(
    request: RankRequest, ordered: Sequence[ScoredModel], certainty: Certainty, costs: CostTable
) -> Iterator[RankedModel]:
    """Yield the rows of the models, best first."""
    limits = [request.budget.exceeded(costs[scored.model], scored.model.size) for scored in ordered]
    affordable = [scored for scored, broken in zip(ordered, limits, strict=True) if not broken]
    on_front = _on_front(request.rule.decisive, affordable, costs)
    for i, scored in enumerate(ordered):
        model, metadata = scored.model, scored.model.metadata
        n_source, n_features = scored.outputs.widths
        yield dataclasses.replace(
            standing(certainty, i, n_source, n_features),
            source=printable(metadata.source),
            license=printable(metadata.license),
            path=printable(model.path),
            sha256=model.sha256,
            n_parameters=metadata.n_parameters,
            top1=metadata.top1,
            size_bytes=model.size,
            macs=metadata.macs,
            cost=costs[model],
            outside=limits[i],
            on_front=model.sha256 in on_front,
            variant=metadata.variant,
            n_inferred=scored.outputs.n_inferred,
        )


def standing(certainty: Certainty, i: int, n_source: int | None, n_features: int | None) -> RankedModel:
    """Return the row of the model at position i of the order, without the attributes of its file."""
    return RankedModel(
        rank=i + 1,
        group=certainty.groups[i],
        tied_with=tuple(certainty.names[j] for j in certainty.tied_with[i]),
        probability_best=certainty.probability_best[i],
        expected_loss=certainty.losses[i],
        name=certainty.names[i],
        scores=certainty.scores[i],
        n_source=n_source,
        n_features=n_features,
    )


def _on_front(by: str, affordable: Sequence[ScoredModel], costs: CostTable) -> set[str]:
    """Return the file hashes of the affordable models on the Pareto front of score and latency."""
    points = [(scored, cost.latency) for scored in affordable if (cost := costs[scored.model]) is not None]
    front = pareto_front([scored.scores[by].value for scored, _ in points], [latency for _, latency in points])
    return {scored.model.sha256 for (scored, _), on in zip(points, front, strict=True) if on}


def _notes(outputs: Outputs, request: RankRequest) -> Iterator[str]:
    models = [model_outputs.model for model_outputs in outputs]
    with_leep = any(model.metadata.has_probs for model in models)
    yield from absent_scores(lacking(models), request.computed)
    yield from thin_data(outputs.hashed.counts, request.rule, request.computed, with_leep)
