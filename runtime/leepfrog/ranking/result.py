"""What a ranking says, as frozen data that are written as JSON and read again."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator
from dataclasses import field
from typing import Any, ClassVar

from leepfrog.arguments import did_you_mean
from leepfrog.codec import FORMERLY, encode_fields
from leepfrog.costs.cost import Cost
from leepfrog.errors import MachineError, counted
from leepfrog.inference.metadata import Variant
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.certainty import Separation
from leepfrog.ranking.racing import Race
from leepfrog.ranking.variants import Drift
from leepfrog.receipts.receipt import Receipt, SkippedImage
from leepfrog.results import MEASURED, OF_ORDER, Result
from leepfrog.scoring.score import Score

SCHEMA_VERSION = 3


@dataclasses.dataclass(frozen=True)
class RankedModel:
    """One model's row.

    Attributes:
        rank: 1 is best.
        group: from 1; the images leave open that a model is as good as the first of its group.
        tied_with: names of all models that the images do not tell it from.
        probability_best: the chance that it is the best: that its accuracy is, or, where a score decides the order,
            that it comes first when the images are drawn again, class by class.
        expected_loss: how far its accuracy is expected to be below that of whichever model is best, from 0 to 1; None
            where a score decides the order.
        name: which model.
        scores: score by name, with 90 % intervals; those that read probabilities only where it has any. The expected
            accuracy of the ranking's goal is one of them.
        n_source: Z, None where the model has no probabilities over source classes.
        n_features: D, None where it has no features.
        source, license, path, sha256: the model's file; empty, as the numbers that follow are None, where arrays were
            ranked.
        n_parameters: numbers in the weights.
        top1: published ImageNet top-1 in percent, if known.
        size_bytes: the ONNX file's size.
        macs: multiply-adds on one image, if they could be counted.
        cost: measured at `cost.place`, whose other work may have changed what `cost.doubtful` names; None if not known.
        outside: the limits of the budget that it breaks, by name.
        on_front: whether it is within the budget and no other such model is as good and as quick.
        variant: how it differs from its float32 parent, None for a model that has none.
        n_inferred: images that passed the model in this run; the others came from the cache.
    """

    rank: int = field(metadata=OF_ORDER)
    group: int = field(metadata=OF_ORDER)
    tied_with: tuple[str, ...]
    probability_best: float
    expected_loss: float | None
    name: str
    scores: dict[str, Score]
    n_source: int | None
    n_features: int | None
    source: str = ""
    license: str = field(default="", metadata={FORMERLY: "licence"})
    path: str = field(default="", metadata=MEASURED)
    sha256: str = ""
    n_parameters: int | None = None
    top1: float | None = None
    size_bytes: int | None = None
    macs: int | None = None
    cost: Cost | None = field(default=None, metadata=MEASURED)
    outside: tuple[str, ...] = field(default=(), metadata=MEASURED)
    on_front: bool = field(default=False, metadata=MEASURED)
    variant: Variant | None = None
    n_inferred: int = field(default=0, metadata=MEASURED)

    also_written: ClassVar = ("tied_with_best",)

    @property
    def tied_with_best(self) -> bool:
        """Whether the images leave open that it is as good as the first."""
        return self.group == 1

    @property
    def latency_in_doubt(self) -> bool:
        """Whether other work on the machine may have changed the latency, which is then what a run takes at most."""
        return "latency" in self.doubtful

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Which values of its cost are in doubt."""
        return self.cost.doubtful if self.cost else ()

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON-ready values."""
        return encode_fields(self)


@dataclasses.dataclass(frozen=True, repr=False)
class Ranking(Result):
    """Models by how well they are expected to transfer, best first.

    `for model in ranking`, `len(ranking)`, `ranking[0]` and `ranking["mobilenet_v2"]` give its models. A notebook shows
    it as a table.

    Attributes:
        data: where the images came from.
        classes: images used, by class.
        n_images: images used.
        notes: what was odd and what was done about it.
        ranked_by: the score that decides the order: the goal's expected accuracy, or another.
        goal: what the models are wanted for; None where another score than its accuracy decides the order.
        budget: the most that a model may cost.
        shown: scores that were asked for by name, in that order.
        separation: what would tell the first two apart, where they are tied.
        models: the rows.
        drifts: variants in fewer bits against those of their parents that are among the models.
        race: which models were dropped early, None where all saw all images.
        receipt: what made it.
    """

    kind: ClassVar = "ranking"
    schema_version: ClassVar = SCHEMA_VERSION

    data: str = field(metadata=MEASURED)
    classes: dict[str, int]
    n_images: int
    notes: tuple[str, ...]
    ranked_by: str
    goal: str | None
    budget: Budget
    shown: tuple[str, ...]
    separation: Separation | None = field(metadata=OF_ORDER)
    models: tuple[RankedModel, ...]
    drifts: tuple[Drift, ...]
    race: Race | None
    receipt: Receipt = field(metadata=MEASURED)

    def __iter__(self) -> Iterator[RankedModel]:
        """The models, best first."""
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, which: int | str) -> RankedModel:
        """A model by its place, 0 for the best, or by its name.

        Raises:
            KeyError: no model has this name.
            IndexError: there are not so many.
        """
        if not isinstance(which, str):
            return self.models[which]
        for model in self.models:
            if model.name == which:
                return model
        raise KeyError(f"no model {which!r}; {did_you_mean(which, [model.name for model in self.models])}")

    def __repr__(self) -> str:
        models, images = counted(len(self), "model"), counted(self.n_images, "image")
        order = ", ".join(f"{model.name} {model.scores[self.ranked_by]:.4g}" for model in self.models)
        return f"<Ranking of {models} on {images} of {self.data}, best {self.ranked_by} first: {order}>"

    @property
    def best(self) -> RankedModel | None:
        """The best model within the budget; None where none is."""
        return next((model for model in self.models if not model.outside), None)

    @property
    def tied(self) -> list[RankedModel]:
        """The models that the images leave open to be the best, the first among them; one where it is clear."""
        return [model for model in self.models if model.tied_with_best]

    @property
    def n_classes(self) -> int:
        """Classes of which images were used."""
        return sum(map(bool, self.classes.values()))

    @property
    def priced(self) -> list[tuple[RankedModel, Cost]]:
        """The models whose costs are known, with these."""
        return [(model, model.cost) for model in self.models if model.cost is not None]

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Images left out."""
        return self.receipt.data.skipped if self.receipt.data else ()

    def to_frame(self) -> Any:
        """A pandas data frame with a row per model, best first: scores with their intervals, costs, the front.

        Raises:
            MachineError: pandas is not installed.
        """
        from leepfrog.ranking.records import records

        try:
            import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            raise MachineError("a data frame needs pandas: pip install pandas") from None
        return pandas.DataFrame.from_records(records(self))

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from leepfrog.ranking.table import brief_table

        header, rows, *_ = brief_table(self)
        lines = [f"<tr>{''.join(f'<th>{html.escape(title)}</th>' for title in header)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
        return f"<table>{''.join(lines)}</table>"
