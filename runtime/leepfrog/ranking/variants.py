"""Compare reduced-precision variants with their float32 parents, in scores and measured costs."""

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

# A variant is broken if its top-1 agreement with the parent is below BROKEN_AGREEMENT, or if it is significantly worse
# and the held-out head loses more than BROKEN_LOSS in accuracy.
BROKEN_AGREEMENT = 0.1
BROKEN_LOSS = 0.1
# Relative latency differences up to this count as equal speed.
SAME_SPEED = 0.05


@dataclasses.dataclass(frozen=True)
class Drift:
    """Comparison of a variant with its float32 parent on the same images.

    Attributes:
        model: name of the variant.
        parent: name of its parent.
        precision: "fp16" or "int8".
        score: score of the variant minus score of the parent.
        standard_error: standard error of that difference, with images paired; None for a single image.
        head: change in held-out accuracy of the linear head; None if no score provides it.
        top1_agreement: fraction of images with the same most probable source class; None without source classes.
        latency: latency of the variant divided by that of the parent; None if one of them is unknown.
        size: file size of the variant divided by that of the parent.
        memory: memory of the variant divided by that of the parent; None if one of them is unknown.
        verdict: any of "broken", "worse", "slower".
        latency_in_doubt: true if other work may have disturbed either latency; the verdict is then never "slower".
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
    """Compare each variant with its parent, where the parent is among the models.

    Args:
        models: models with their scores.
        costs: costs of the models.
        labels: class index of each image, [N].
        by: name of the score that decides the order.
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
    """Return the held-out accuracy of a head; None if no score provides it."""
    if "ridge" in scores:
        return scores["ridge"].diagnostics["accuracy"]
    return next((scores[name].value for name in ("linear_probe", "few_shot") if name in scores), None)
