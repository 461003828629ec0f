"""What fewer bits change on these images and on this machine: variants against their float32 parents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leepfrog.ranking.certainty import TIE_ERRORS
from leepfrog.scoring.uncertainty import standard_error

if TYPE_CHECKING:
    from leepfrog.ranking.result import RankedModel

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
        head: what the held-out linear head gains in accuracy, None where no ridge was scored.
        top1_agreement: part of the images that get the same first source class.
        latency, size, memory: the variant's divided by the parent's.
        verdict: any of "broken", "worse", "slower".
        latency_in_doubt: whether other work on the machine may have changed either latency; then it is never "slower".
    """

    model: str
    parent: str
    precision: str
    score: float
    standard_error: float | None
    head: float | None
    top1_agreement: float
    latency: float
    size: float
    memory: float
    verdict: tuple[str, ...]
    latency_in_doubt: bool


def drifts(
    rows: Sequence[RankedModel], first_classes: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], by: str
) -> list[Drift]:
    """Compare each variant whose parent is among the models with it.

    Args:
        rows: the models.
        first_classes: each model's most probable source class of each image, [N].
        labels: the images' classes, [N].
        by: the score that decides the order.
    """
    place = {row.sha256: i for i, row in enumerate(rows)}
    found = []
    for i, row in enumerate(rows):
        if row.variant is not None and (j := place.get(row.variant.parent_sha256)) is not None:
            same = float((first_classes[i] == first_classes[j]).mean())
            found.append(_drift(row, rows[j], same, labels, by))
    return found


def _drift(row: RankedModel, parent: RankedModel, same: float, labels: NDArray[np.int64], by: str) -> Drift:
    assert row.variant is not None
    apart = row.scores[by].terms - parent.scores[by].terms
    score, error = float(apart.mean()), standard_error(apart, labels)
    head = None
    if "ridge" in row.scores:
        head = row.scores["ridge"].diagnostics["accuracy"] - parent.scores["ridge"].diagnostics["accuracy"]
    lower = error is not None and score < -TIE_ERRORS * error
    latency = row.cost.latency / parent.cost.latency
    in_doubt = row.latency_in_doubt or parent.latency_in_doubt
    verdict = []
    if same < BROKEN_AGREEMENT or (lower and head is not None and head < -BROKEN_LOSS):
        verdict.append("broken")
    elif lower:
        verdict.append("worse")
    if latency > 1 + SAME_SPEED and not in_doubt:
        verdict.append("slower")
    return Drift(
        model=row.name,
        parent=parent.name,
        precision=row.variant.precision,
        score=score,
        standard_error=error,
        head=head,
        top1_agreement=same,
        latency=latency,
        size=row.size_bytes / parent.size_bytes,
        memory=row.cost.memory / parent.cost.memory,
        verdict=tuple(verdict),
        latency_in_doubt=in_doubt,
    )
