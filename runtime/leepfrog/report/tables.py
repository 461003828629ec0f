"""Rows of the report's tables."""

from __future__ import annotations

import dataclasses

from leepfrog.costs.formatting import images_per_second, megabytes, millions, milliseconds
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.sentences import over_budget
from leepfrog.ranking.table import (
    ALWAYS,
    interval_text,
    loss_text,
    published_text,
    rank_text,
    score_column,
    score_names,
    score_text,
)
from leepfrog.tables import Column, Table, table_of


@dataclasses.dataclass(frozen=True)
class Bar:
    """An interval drawn in a row; positions are in percent of the row's width.

    Attributes:
        low, at, high: positions of the interval's lower end, the score and the upper end.
        zero: position of score 0, or None if 0 is outside the drawn range.
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
        rank: rank of the model, followed by "=" if it is tied with the best.
        score, interval, loss, latency: text of the cells; loss is empty if the order is not by expected accuracy.
        bar: drawing of the interval, or None if there is no interval.
        remark: the limits that the model breaks, or "on the front", or "".
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
    """Return a row per model, best first, with all intervals on one axis."""
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
        return round(2 + 96 * (value - least) / width, 2)  # leave room for the marks at both ends

    low, high = score.interval
    zero = percent(0.0) if least < 0 < most else None
    return Bar(percent(low), percent(score.value), percent(high), zero)


def score_table(ranking: Ranking) -> Table:
    """Return a table of all computed scores, the one that decides the order first, and of published accuracies."""
    names = dict.fromkeys((ranking.ranked_by, *ALWAYS, *ranking.shown, *score_names(ranking)))
    published = Column("published top-1 %", published_text)
    return table_of([_MODEL, *map(score_column, names), published], ranking.models)


def cost_table(ranking: Ranking) -> Table:
    """Return a table of the models' costs."""
    costs: list[Column[RankedModel]] = [
        Column("ms per image", lambda model: milliseconds(model.cost)),
        Column("95th percentile", lambda model: milliseconds(model.cost, "latency_p95")),
        Column("images per second", lambda model: images_per_second(model.cost)),
        Column("memory MB", lambda model: megabytes(model.cost.memory if model.cost else None)),
        Column("of which the model", lambda model: megabytes(model.cost.memory_of_model if model.cost else None)),
        Column("file MB", lambda model: megabytes(model.size_bytes, 1)),
        Column("parameters M", lambda model: millions(model.n_parameters, 1)),
        Column("multiply-adds M", lambda model: millions(model.macs)),
    ]
    if ranking.budget != Budget():
        costs.append(Column("budget", lambda model: over_budget(model) or "within", number=False))
    return table_of([_MODEL, *costs], ranking.models)


_MODEL: Column[RankedModel] = Column("model", lambda model: model.name, number=False)
