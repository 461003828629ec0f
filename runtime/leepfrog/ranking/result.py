"""Ranking results as frozen dataclasses that are written to and read from JSON."""

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
    """One row of a ranking.

    Attributes:
        rank: place in the ranking; 1 is best.
        group: number of the tie group, from 1; every model is statistically tied with the first of its group.
        tied_with: names of all models that are statistically tied with this one.
        probability_best: probability that this model's accuracy is the highest or, if a score decides the order, that
            it comes first when the images are resampled within each class.
        expected_loss: expected accuracy deficit against the best model, from 0 to 1; None if a score decides the
            order.
        name: name of the model.
        scores: scores by name, with 90 % intervals; scores that need probabilities only if the model has them. The
            expected accuracy for the ranking's goal is one of them.
        n_source: number of source classes Z; None if the model does not output class probabilities.
        n_features: number of features D; None if the model does not output features.
        source: origin of the model file; empty for rankings of arrays.
        license: license of the model; empty if unknown, and for rankings of arrays.
        path: path of the model file; empty for rankings of arrays.
        sha256: hash of the model file; empty for rankings of arrays.
        n_parameters: number of parameters; None for rankings of arrays.
        top1: published ImageNet top-1 accuracy in percent; None if unknown.
        size_bytes: size of the ONNX file; None for rankings of arrays.
        macs: multiply-accumulate operations per image; None if they could not be counted.
        cost: cost measured at `cost.place`, or None if unknown; other work may have disturbed the values named in
            `cost.doubtful`.
        outside: names of the budget limits that the model exceeds.
        on_front: true if the model is within the budget and no other such model is at least as good and as fast.
        variant: how the model differs from its float32 parent; None if it has no parent.
        n_inferred: number of images run through the model this time; outputs for the others came from the cache.

    >>> import leepfrog
    >>> model = leepfrog.rank("PHOTOS", "mobilenet_v2")[0]
    >>> low, high = model.scores["head_accuracy"].interval
    >>> model.rank, low < model.scores["head_accuracy"] < high
    (1, True)
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
        """True if the model is statistically tied with the first."""
        return self.group == 1

    @property
    def latency_in_doubt(self) -> bool:
        """True if other work may have slowed the measurement; the latency is then an upper bound."""
        return "latency" in self.doubtful

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Names of the cost values that are in doubt."""
        return self.cost.doubtful if self.cost else ()

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON-ready values."""
        return encode_fields(self)


@dataclasses.dataclass(frozen=True, repr=False)
class Ranking(Result):
    """Models ordered by how well they are expected to transfer, best first.

    `for model in ranking`, `len(ranking)`, `ranking[0]` and `ranking["mobilenet_v2"]` access its models.
    Notebooks show a ranking as a table.

    Attributes:
        data: source of the images.
        classes: number of images used, by class.
        n_images: number of images used.
        notes: irregularities and how they were handled.
        ranked_by: name of the score that decides the order: the expected accuracy for the goal, or another score.
        goal: what the models are to be used for; None if a score other than the expected accuracy decides the order.
        budget: upper limits on a model's cost.
        shown: names of the explicitly requested scores, in the requested order.
        separation: what it would take to separate the first two models, if they are tied.
        models: rows, best first.
        drifts: comparisons of reduced-precision variants with their float32 parents, where both are ranked.
        race: record of the race, with the models dropped early; None if all models saw all images.
        receipt: record of how the ranking was made.

    >>> import leepfrog
    >>> leepfrog.rank("PHOTOS", ["mobilenet_v2", "efficientnet_lite0"]).save("ranking.json")
    >>> ranking = Ranking.load("ranking.json")
    >>> ranking.n_classes, [model.name for model in ranking]
    (4, ['mobilenet_v2', 'efficientnet_lite0'])
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
        """Iterate over the models, best first."""
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, which: int | str) -> RankedModel:
        """Return a model by position, 0 for the best, or by name.

        Raises:
            KeyError: no model has this name.
            IndexError: the position is out of range.
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
        """The best model within the budget; None if no model is within it."""
        return next((model for model in self.models if not model.outside), None)

    @property
    def tied(self) -> list[RankedModel]:
        """The models statistically tied for first place, including the first; a single model if the best is clear."""
        return [model for model in self.models if model.tied_with_best]

    @property
    def n_classes(self) -> int:
        """Number of classes with at least one image used."""
        return sum(map(bool, self.classes.values()))

    @property
    def priced(self) -> list[tuple[RankedModel, Cost]]:
        """The models with known costs, paired with their costs."""
        return [(model, model.cost) for model in self.models if model.cost is not None]

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Images that were skipped."""
        return self.receipt.data.skipped if self.receipt.data else ()

    def to_frame(self) -> Any:
        """Return a pandas data frame with one row per model, best first: scores with intervals, costs and the front.

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
        """Return an HTML table for notebooks."""
        from leepfrog.ranking.table import brief_table

        header, rows, *_ = brief_table(self)
        lines = [f"<tr>{''.join(f'<th>{html.escape(title)}</th>' for title in header)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
        return f"<table>{''.join(lines)}</table>"
