"""What fewer bits change on these images, and where costs are measured: variants against their float32 parents."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.costs.measured import CostTable
from leepfrog.ranking.certainty import TIE_ERRORS
from leepfrog.ranking.model_scores import ScoredModel
from leepfrog.results import MEASURED
from leepfrog.scoring.score import Score
from leepfrog.scoring.uncertainty import standard_error

# A variant is called broken where its predictions have next to nothing to do with its parent's, or where the held-out
# head loses this much accuracy, beyond doubt.
BROKEN_AGREEMENT = 0.1
BROKEN_LOSS = 0.1
# Latencies closer than this are called the same.
SAME_SPEED = 0.05


@dataclasses.dataclass(frozen=True)
class Drift:
    """A variant against its float32 parent, on the same images.

    Attributes:
        model, parent: their names.
        precision: "fp16" or "int8".
        score: the variant's score less the parent's.
        standard_error: of that difference, images paired; None where there is but one image of each class.
        head: what the held-out linear head gains in accuracy, None where no score has one.
        top1_agreement: part of the images that get the same first source class; None where there are none.
        latency, size, memory: the variant's divided by the parent's; None where a cost is not known.
        verdict: any of "broken", "worse", "slower".
        latency_in_doubt: whether other work on the machine may have changed either latency; then it is never "slower".
    """

    model: str
    parent: str
    precision: str
    score: float
    standard_error: float | None
    head: float | None
    top1_agreement: float | None
    latency: float | None = dataclasses.field(metadata=MEASURED)
    size: float
    memory: float | None = dataclasses.field(metadata=MEASURED)
    verdict: tuple[str, ...] = dataclasses.field(metadata=MEASURED)
    latency_in_doubt: bool = dataclasses.field(metadata=MEASURED)


def drifts(models: Sequence[ScoredModel], costs: CostTable, labels: NDArray[np.int64], by: str) -> list[Drift]:
    """Compare each variant whose parent is among the models with it.

    Args:
        models: with their scores.
        costs: theirs.
        labels: the images' classes, [N].
        by: the score that decides the order.
    """
    known = {scored.model.sha256: scored for scored in models}
    pairs = (
        (scored, known[scored.model.metadata.variant.parent_sha256])
        for scored in models
        if scored.model.metadata.variant is not None and scored.model.metadata.variant.parent_sha256 in known
    )
    return [_drift(scored, parent, costs, labels, by) for scored, parent in pairs]


def _drift(variant: ScoredModel, parent: ScoredModel, costs: CostTable, labels: NDArray[np.int64], by: str) -> Drift:
    assert variant.model.metadata.variant is not None
    same = None
    if variant.first_classes is not None and parent.first_classes is not None:
        same = float((variant.first_classes == parent.first_classes).mean())
    apart = variant.scores[by].terms - parent.scores[by].terms
    score, error = float(apart.mean()), standard_error(apart, labels)
    heads = _held_out_accuracy(variant.scores), _held_out_accuracy(parent.scores)
    head = None if heads[0] is None or heads[1] is None else heads[0] - heads[1]
    lower = error is not None and score < -TIE_ERRORS * error
    cost, of_parent = costs[variant.model], costs[parent.model]
    latency = memory = None
    in_doubt = False
    if cost is not None and of_parent is not None:
        latency, memory = cost.latency / of_parent.latency, cost.memory / of_parent.memory
        in_doubt = "latency" in (*cost.doubtful, *of_parent.doubtful)
    verdict = []
    if (same is not None and same < BROKEN_AGREEMENT) or (lower and head is not None and head < -BROKEN_LOSS):
        verdict.append("broken")
    elif lower:
        verdict.append("worse")
    if latency is not None and latency > 1 + SAME_SPEED and not in_doubt:
        verdict.append("slower")
    return Drift(
        model=variant.model.name,
        parent=parent.model.name,
        precision=variant.model.metadata.variant.precision,
        score=score,
        standard_error=error,
        head=head,
        top1_agreement=same,
        latency=latency,
        size=variant.model.size / parent.model.size,
        memory=memory,
        verdict=tuple(verdict),
        latency_in_doubt=in_doubt,
    )


def _held_out_accuracy(scores: Mapping[str, Score]) -> float | None:
    """How often a head is right about images that it was not fitted to; None where no score says it."""
    if "ridge" in scores:
        return scores["ridge"].diagnostics["accuracy"]
    return next((scores[name].value for name in ("linear_probe", "few_shot") if name in scores), None)
