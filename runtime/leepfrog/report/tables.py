"""The rows of a report's tables."""

from __future__ import annotations

import dataclasses

from leepfrog.costs.formatting import images_per_second, megabytes, millions, milliseconds
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.table import (
    ALWAYS,
    interval_text,
    loss_text,
    over_budget,
    published_text,
    rank_text,
    score_column,
    score_names,
    score_text,
)
from leepfrog.tables import Column, Table, table_of


@dataclasses.dataclass(frozen=True)
class Bar:
    """An interval drawn in a row, in percent of its width.

    Attributes:
        low, at, high: the interval and the score itself.
        zero: where the score is 0; None where it is 0 outside of what is drawn.
    """

    low: float
    at: float
    high: float
    zero: float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """A model in the ranking.

    Attributes:
        model: the model.
        rank: its rank, with "=" where it is tied with the best.
        score, interval, loss, latency: as text; loss is empty where no accuracy decides the order.
        bar: the interval, drawn; None where there is none.
        remark: whether it is on the front, or which limits it breaks.
    """

    model: RankedModel
    rank: str
    score: str
    interval: str
    loss: str
    latency: str
    bar: Bar | None
    remark: str


def ranking_rows(ranking: Ranking) -> list[Row]:
    """The models, best first, their intervals on one axis."""
    by = ranking.ranked_by
    rank = rank_text(ranking)
    ends = [end for model in ranking.models for end in model.scores[by].interval or ()]
    return [
        Row(
            model=model,
            rank=rank(model).strip(),
            score=score_text(model, by),
            interval=interval_text(model, by),
            loss=loss_text(model),
            latency=milliseconds(model.cost),
            bar=_bar(model, by, min(ends), max(ends)) if model.scores[by].interval else None,
            remark=over_budget(model) or ("on the front" if model.on_front else ""),
        )
        for model in ranking.models
    ]


def _bar(model: RankedModel, by: str, least: float, most: float) -> Bar:
    score = model.scores[by]
    assert score.interval is not None
    width = (most - least) or 1.0

    def percent(value: float) -> float:
        return round(2 + 96 * (value - least) / width, 2)  # a little room for the marks at both ends

    low, high = score.interval
    zero = percent(0.0) if least < 0 < most else None
    return Bar(percent(low), percent(score.value), percent(high), zero)


def score_table(ranking: Ranking) -> Table:
    """Every score that was computed, the one that decides the order first, and what was published."""
    names = dict.fromkeys((ranking.ranked_by, *ALWAYS, *ranking.shown, *score_names(ranking)))
    published = Column("published top-1 %", published_text)
    return table_of([_MODEL, *map(score_column, names), published], ranking.models)


def cost_table(ranking: Ranking) -> Table:
    """What the models cost."""
    costs: list[Column[RankedModel]] = [
        Column("ms an image", lambda model: milliseconds(model.cost)),
        Column("95th percentile", lambda model: milliseconds(model.cost, "latency_p95")),
        Column("images a second", lambda model: images_per_second(model.cost)),
        Column("memory MB", lambda model: megabytes(model.cost.memory if model.cost else None)),
        Column("of these the model", lambda model: megabytes(model.cost.memory_of_model if model.cost else None)),
        Column("file MB", lambda model: megabytes(model.size_bytes, 1)),
        Column("parameters M", lambda model: millions(model.n_parameters, 1)),
        Column("multiply-adds M", lambda model: millions(model.macs)),
    ]
    if ranking.budget != Budget():
        costs.append(Column("budget", lambda model: over_budget(model) or "within", number=False))
    return table_of([_MODEL, *costs], ranking.models)


_MODEL: Column[RankedModel] = Column("model", lambda model: model.name, number=False)
