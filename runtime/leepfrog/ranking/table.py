"""Format a ranking as tables and sentences for the command line, notebooks and reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from leepfrog.costs.formatting import megabytes, millions, milliseconds
from leepfrog.ranking.racing import Race
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.score_format import format_of, points
from leepfrog.ranking.sentences import (
    certainty_in_words,
    chance_level,
    doubts_in_words,
    front_in_words,
    over_budget,
    places_in_words,
    race_outside,
    race_risked,
    race_saved,
    trade_offs_in_words,
    trust_in_words,
    verdict,
)
from leepfrog.ranking.variants import Drift
from leepfrog.tables import Column, Emphasis, Part, Table, table_of

ALWAYS = ("leep_loo", "leep")

BRIEF = ("rank", "model", "90 % interval", "loss", "P(best)", "ms/image", "size MB", "front")
"""Titles of the columns that a notebook shows in addition to the score."""

LEAST = (
    "p95", "memory MB", "params M", "top-1 %", "LEEP", "LOO-LEEP", "size MB", "90 % interval", "P(best)", "ms/image",
    "front", "head %", "loss",
)  # fmt: skip


def parts(ranking: Ranking) -> list[Part]:
    """Return the whole ranking as sentences and tables, in reading order."""
    by = format_of(ranking.ranked_by).words
    head = f"{ranking.n_images} images of {ranking.n_classes} classes from {ranking.data}; best {by} first"
    if any("leep" in model.scores for model in ranking):
        head += f" (LEEP: 0 is perfect, {chance_level(ranking):.3f} is no better than knowing the class sizes)"
    marks = [*certainty_in_words(ranking), *front_in_words(ranking)]
    answer = [verdict(ranking), *trade_offs_in_words(ranking), *trust_in_words(ranking)]
    shown: list[Part] = [answer, head, ranking_table(ranking)]
    shown += [*([marks] if marks else []), *places_in_words(ranking), *doubts_in_words(ranking)]
    if ranking.drifts:
        shown += ["Variants compared with their float32 parents:", drift_table(ranking.drifts, ranking.ranked_by)]
    return shown if ranking.race is None else [*shown, *race_parts(ranking.race, ranking.ranked_by)]


def ranking_table(ranking: Ranking) -> Table:
    """Return a table with one row per model, best first."""
    by = format_of(ranking.ranked_by).title  # never dropped, however narrow the terminal is
    return table_of(columns(ranking), ranking.models, tuple(title for title in LEAST if title != by), _emphasis)


def _emphasis(model: RankedModel) -> Emphasis:
    return Emphasis.dim if model.outside else Emphasis.best if model.tied_with_best else Emphasis.none


def brief_table(ranking: Ranking) -> Table:
    """Return a table of the most informative columns."""
    wanted = (*BRIEF, format_of(ranking.ranked_by).title)
    return table_of((column for column in columns(ranking) if column.title in wanted), ranking.models)


def columns(ranking: Ranking) -> list[Column[RankedModel]]:
    """Return all columns: the deciding score and its certainty, then LEEP, other scores, model facts and costs."""
    by = ranking.ranked_by
    computed = {name for model in ranking for name in model.scores}
    further = [name for name in dict.fromkeys((*ALWAYS, *ranking.shown)) if name in computed and name != by]
    found: list[Column[RankedModel]] = [
        Column("rank", rank_text(ranking)),
        Column("model", lambda model: model.name, number=False),
        score_column(by),
        Column("90 % interval", lambda model: interval_text(model, by)),
        *([] if ranking.goal is None else [Column("loss", loss_text)]),
        Column("P(best)", lambda model: f"{model.probability_best:.2f}"),
        *([Column("head %", head_accuracy_text)] if "ridge" in computed and ranking.goal is None else []),
        *map(score_column, further),
    ]
    of_files: list[Column[RankedModel]] = [
        Column("top-1 %", published_text),
        Column("params M", lambda model: millions(model.n_parameters, 1)),
        Column("size MB", lambda model: megabytes(model.size_bytes, 1)),
        Column("ms/image", lambda model: milliseconds(model.cost)),
        Column("p95", lambda model: milliseconds(model.cost, "latency_p95")),
        Column("memory MB", lambda model: megabytes(model.cost.memory if model.cost else None)),
        Column("front", lambda model: over_budget(model) or "*" * model.on_front, number=False),
    ]
    return [*found, *(column for column in of_files if any(map(column.cell, ranking.models)))]


def score_column(name: str) -> Column[RankedModel]:
    """Return the column of a score; cells of models without the score are empty."""
    return Column(format_of(name).title, lambda model: score_text(model, name))


def score_names(ranking: Ranking) -> list[str]:
    """Return the names of all scores that at least one model has, LEEP scores first."""
    # Models differ only in the scores that need probabilities, so the longest dictionary holds every name.
    most = max((model.scores for model in ranking.models), key=len, default={})
    return list(dict.fromkeys((*ALWAYS, *most)))


def rank_text(ranking: Ranking) -> Callable[[RankedModel], str]:
    """Return a formatter of ranks: "=" follows the rank of models tied for first; a space keeps other ranks aligned."""
    several = len(ranking.tied) > 1
    return lambda model: f"{model.rank}{'=' if several and model.tied_with_best else ' '}"


def score_text(model: RankedModel, name: str) -> str:
    """Return a score's value with its significant digits; "" if the model does not have the score."""
    return format_of(name).value(model.scores[name].value) if name in model.scores else ""


def interval_text(model: RankedModel, by: str) -> str:
    """Return the 90 % interval of a score."""
    return format_of(by).interval(*(model.scores[by].interval or (math.nan, math.nan)))


def loss_text(model: RankedModel) -> str:
    """Return the expected accuracy loss against the best model, in points; "" if the order is decided by a score."""
    return "" if model.expected_loss is None else points(model.expected_loss)


def head_accuracy_text(model: RankedModel) -> str:
    """Return the held-out accuracy of a linear (ridge) head, in percent; "" without the ridge score."""
    return f"{100 * model.scores['ridge'].diagnostics['accuracy']:.1f}" if "ridge" in model.scores else ""


def published_text(model: RankedModel) -> str:
    """Return the published ImageNet top-1 accuracy, in percent; "" if unknown."""
    return "" if model.top1 is None else f"{model.top1:.1f}"


def drift_table(drifts: Sequence[Drift], by: str) -> Table:
    """Return a table comparing reduced-precision variants with their float32 parents by the deciding score."""
    decisive = format_of(by)

    def times(ratio: float | None) -> str:
        return "" if ratio is None else f"x {ratio:.2f}"

    def percent(part: float | None, sign: str = "") -> str:
        return "" if part is None else f"{100 * part:{sign}z.1f}"

    shown: list[Column[Drift]] = [
        Column("variant", lambda drift: drift.model, number=False),
        Column("parent", lambda drift: drift.parent, number=False),
        Column(decisive.title, lambda drift: decisive.value(drift.score, "+")),
        Column("+-", lambda drift: "" if drift.standard_error is None else decisive.value(drift.standard_error)),
        Column("head %", lambda drift: percent(drift.head, "+")),
        Column("same top-1 %", lambda drift: percent(drift.top1_agreement)),
        Column("time", lambda drift: f"{'~ ' if drift.latency_in_doubt else ''}{times(drift.latency)}"),
        Column("size", lambda drift: times(drift.size)),
        Column("memory", lambda drift: times(drift.memory)),
        Column("verdict", lambda drift: ", ".join(drift.verdict) or "not separated", number=False),
    ]
    return table_of(shown, drifts, ("memory", "head %", "size", "parent"))


def race_parts(race: Race, by: str) -> list[Part]:
    """Return what racing saved, the dropped models and the risk of dropping the best one."""
    dropped: list[Part] = [race_table(race, by), race_risked(race)] if race.dropped else []
    outside = race_outside(race)
    return [race_saved(race), *dropped, *([outside] if outside else [])]


def race_table(race: Race, by: str) -> Table:
    """Return a table of the models dropped from a race, with their deficits in the deciding score."""
    shown = format_of(by)
    header = ("dropped", "after images", "behind", f"by{shown.unit}", "+-", "standard errors")
    rows = [
        (
            dropped.model,
            f"{dropped.n_images:,}",
            dropped.leader,
            f"{shown.factor * dropped.deficit:.{shown.interval_digits}f}",
            f"{shown.factor * dropped.standard_error:.{shown.interval_digits}f}",
            f"{dropped.deficit / dropped.standard_error:.1f}" if dropped.standard_error else "",
        )
        for dropped in race.dropped
    ]
    return Table(header, rows, (False, True, False, True, True, True))
