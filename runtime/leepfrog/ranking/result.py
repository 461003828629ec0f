"""What a ranking says, as frozen data that turn into JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from leepfrog.inference.cost import Cost
from leepfrog.inference.metadata import Variant
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.certainty import Separation
from leepfrog.ranking.drift import Drift
from leepfrog.ranking.racing import Race
from leepfrog.receipts.receipt import Receipt, SkippedImage
from leepfrog.scoring.score import Score

SCHEMA_VERSION = 2


@dataclasses.dataclass(frozen=True)
class RankedModel:
    """One model's row.

    Attributes:
        rank: 1 is best.
        group: from 1; the images leave open that a model is as good as the first of its group.
        tied_with: names of all models that the images do not tell it from.
        probability_best: how often it is the first when the images are drawn again, class by class.
        name, source, licence, path, sha256: which model.
        scores: score by name, with 90 % intervals.
        n_source, n_features: Z and D.
        n_parameters: numbers in the weights.
        top1: published ImageNet top-1 in percent, if known.
        size_bytes: the ONNX file's size.
        macs: multiply-adds on one image, if they could be counted.
        cost: measured on this machine; `cost.doubtful` names what other work on it may have changed.
        outside: the limits of the budget that it breaks, by name.
        on_front: whether it is within the budget and no other such model is as good and as quick.
        variant: how it differs from its float32 parent, None for a model that has none.
        n_inferred: images that passed the model in this run; the others came from the cache.
    """

    rank: int
    group: int
    tied_with: tuple[str, ...]
    probability_best: float
    name: str
    source: str
    licence: str
    path: str
    sha256: str
    scores: dict[str, Score]
    n_source: int
    n_features: int
    n_parameters: int
    top1: float | None
    size_bytes: int
    macs: int | None
    cost: Cost
    outside: tuple[str, ...]
    on_front: bool
    variant: Variant | None
    n_inferred: int

    @property
    def tied_with_best(self) -> bool:
        """Whether the images leave open that it is as good as the first."""
        return self.group == 1

    @property
    def latency_in_doubt(self) -> bool:
        """Whether other work on the machine may have changed the latency, which is then what a run takes at most."""
        return "latency" in self.cost.doubtful

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON-ready values."""
        found = dataclasses.asdict(dataclasses.replace(self, scores={}))
        found["tied_with_best"] = self.tied_with_best
        found["scores"] = {name: score.as_dict() for name, score in self.scores.items()}
        return found


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Models by how well they are expected to transfer, best first.

    Attributes:
        data: where the images came from.
        classes: images used, by class.
        n_images: images used.
        notes: what was odd and what was done about it.
        ranked_by: the score that decides the order.
        budget: the most that a model may cost.
        shown: scores that were asked for by name, in that order.
        separation: what would tell the first two apart, where they are tied.
        models: the rows.
        drifts: variants in fewer bits against those of their parents that are among the models.
        race: which models were dropped early, None where all saw all images.
        receipt: what made it.
    """

    data: str
    classes: dict[str, int]
    n_images: int
    notes: tuple[str, ...]
    ranked_by: str
    budget: Budget
    shown: tuple[str, ...]
    separation: Separation | None
    models: tuple[RankedModel, ...]
    drifts: tuple[Drift, ...]
    race: Race | None
    receipt: Receipt

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Images left out."""
        return self.receipt.data.skipped if self.receipt.data else ()

    def as_dict(self) -> dict[str, Any]:
        """The ranking as JSON-ready values, with its schema's version."""
        head = {"schema_version": SCHEMA_VERSION, "kind": "ranking"}
        found = head | dataclasses.asdict(dataclasses.replace(self, models=()))
        found["receipt"] = self.receipt.as_dict()
        found["models"] = [model.as_dict() for model in self.models]
        return found
