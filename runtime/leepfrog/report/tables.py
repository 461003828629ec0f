"""The rows of a report's tables."""

from __future__ import annotations

import dataclasses

from leepfrog.costs.cost import Cost
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.formatting import (
    TITLES,
    Table,
    head_accuracy_text,
    interval_text,
    milliseconds,
    over_budget,
    score_names,
    score_text,
)
from leepfrog.ranking.result import RankedModel, Ranking


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
        place: its rank, with "=" where it is tied with the best.
        score, interval, head, latency: as text; head is empty where no ridge was scored.
        bar: the interval, drawn; None where there is none.
        remark: whether it is on the front, or which limits it breaks.
    """

    model: RankedModel
    place: str
    score: str
    interval: str
    head: str
    latency: str
    bar: Bar | None
    remark: str


def ranking_rows(ranking: Ranking) -> list[Row]:
    """The models, best first, their intervals on one axis."""
    by = ranking.ranked_by
    several = sum(model.tied_with_best for model in ranking.models) > 1
    ends = [end for model in ranking.models for end in model.scores[by].interval or ()]
    return [
        Row(
            model=model,
            place=f"{model.rank}{'=' if several and model.tied_with_best else ''}",
            score=score_text(model, by),
            interval=interval_text(model, by),
            head=head_accuracy_text(model) if "ridge" in model.scores else "",
            latency=milliseconds(model),
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
    names = list(dict.fromkeys((ranking.ranked_by, *TITLES, *ranking.shown, *score_names(ranking))))
    header = ("model", *(TITLES.get(name, name) for name in names), "published top-1 %")
    rows = [
        (
            model.name,
            *(score_text(model, name) for name in names),
            "" if model.top1 is None else f"{model.top1:.1f}",
        )
        for model in ranking.models
    ]
    return Table(header, rows, (False, *[True] * (len(header) - 1)))


def _measured(cost: Cost | None) -> tuple[str, str, str]:
    """Throughput and memory as text."""
    if cost is None:
        return "", "", ""
    doubt = "~" if "throughput" in cost.doubtful else ""
    return f"{doubt}{cost.throughput:.0f}", f"{cost.memory / 1e6:.0f}", f"{cost.memory_of_model / 1e6:.0f}"


def cost_table(ranking: Ranking) -> Table:
    """What the models cost."""
    limited = ranking.budget != Budget()
    header = (
        "model", "ms an image", "95th percentile", "images a second", "memory MB", "of these the model",
        "file MB", "parameters M", "multiply-adds M", *(["budget"] if limited else []),
    )  # fmt: skip
    rows = [
        (
            model.name,
            milliseconds(model),
            milliseconds(model, "latency_p95"),
            *_measured(model.cost),
            f"{model.size_bytes / 1e6:.1f}",
            f"{model.n_parameters / 1e6:.1f}",
            "" if model.macs is None else f"{model.macs / 1e6:.0f}",
            *([over_budget(model) or "within"] if limited else []),
        )
        for model in ranking.models
    ]
    return Table(header, rows, tuple(name not in ("model", "budget") for name in header))
