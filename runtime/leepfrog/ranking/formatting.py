"""What a ranking says in words and tables, for the command line and the report alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from leepfrog.ranking.certainty import MOST_TIMES
from leepfrog.ranking.combined import COMBINED
from leepfrog.ranking.racing import Race
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.variants import Drift

TITLES = {"leep_loo": "LOO-LEEP", "leep": "LEEP"}


class Table(NamedTuple):
    """A table of text.

    Attributes:
        header: the columns' names.
        rows: cells, as many a row as there are columns.
        numbers: which columns hold numbers.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[bool, ...]


def chance_level(ranking: Ranking) -> float:
    """What LEEP gives for knowing the sizes of the classes and nothing else: minus their entropy."""
    shares = [n / ranking.n_images for n in ranking.classes.values() if n]
    return sum(share * math.log(share) for share in shares)


def score_names(ranking: Ranking) -> list[str]:
    """Every score that some model has, LEEP's first."""
    # Models without probabilities lack those that read them; all have the others.
    most = max((model.scores for model in ranking.models), key=len, default={})
    return list(dict.fromkeys((*TITLES, *most)))


def score_text(model: RankedModel, name: str) -> str:
    """A score's value with as many digits as mean something; "" where the model lacks it."""
    if name not in model.scores:
        return ""
    return f"{model.scores[name].value:.{2 if name == COMBINED else 4}f}"


def interval_text(model: RankedModel, by: str) -> str:
    """The 90 % interval of a score."""
    low, high = model.scores[by].interval or (math.nan, math.nan)
    digits = 1 if by == COMBINED else 3
    return f"{low:.{digits}f} to {high:.{digits}f}"


def head_accuracy_text(model: RankedModel) -> str:
    """How often a linear head is right about images that it was not fitted to, in percent; needs the score ridge."""
    return f"{100 * model.scores['ridge'].diagnostics['accuracy']:.1f}"


def milliseconds(model: RankedModel, name: str = "latency") -> str:
    """`latency` or `latency_p95`, after "~" if it is in doubt; "" if it is not known."""
    if model.cost is None:
        return ""
    return f"{'~' if name in model.cost.doubtful else ''}{1e3 * getattr(model.cost, name):.1f}"


def over_budget(model: RankedModel) -> str:
    """Which limits a model breaks, with "?" after those that it may not break, "" if none."""
    limits = (f"{limit}?" if limit in model.doubtful else limit for limit in model.outside)
    return f"over {', '.join(limits)}" if model.outside else ""


def places_in_words(ranking: Ranking) -> list[str]:
    """Where costs were measured, and which are not known; nothing if all were measured on this machine."""
    places = dict.fromkeys(cost.place for _, cost in ranking.priced)
    lines = [f"Costs are those of {place}, not of this machine." for place in places if place != "here"]
    if unknown := [model.name for model in ranking.models if model.cost is None]:
        lines.append(f"Costs that are not known, so that these are not on the front: {', '.join(unknown)}.")
    return lines


def doubts_in_words(ranking: Ranking) -> list[str]:
    """Which costs are in doubt, and what depends on them; nothing if the machine was quiet."""
    # The relative latency is for `check`, and not shown.
    doubtful = [model for model in ranking.models if set(model.doubtful) - {"relative_latency"}]
    if not doubtful:
        return []
    slow = [model.name for model in doubtful if model.latency_in_doubt]
    kinds = dict.fromkeys(name.replace("_", " ") for model in doubtful for name in model.doubtful)
    what = f"~ latencies in doubt, {', '.join(slow)}" if slow else f"{', '.join(kinds)} in doubt"
    bound = " They take this long at most." if slow else ""
    where = next(cost.where for _, cost in ranking.priced if cost.doubtful)
    why = f"{what}: other work slowed {where} while costs were measured.{bound}"
    lines = [f"{why} Such costs are not kept: the next run measures them again, as does leepfrog bench."]
    if slow and any(model.on_front for model in ranking.models) and len(ranking.models) > 1:
        lines.append("The front depends on latencies in doubt.")
    if open_ := [model.name for model in doubtful if set(model.outside) & set(model.doubtful)]:
        lines.append(f"Whether these are within the budget is in doubt: {', '.join(open_)}.")
    return lines


def certainty_in_words(ranking: Ranking) -> list[str]:
    """What the images leave open, and what would settle it; nothing where they leave nothing open."""
    tied = [model.name for model in ranking.models if model.tied_with_best]
    if len(tied) < 2:
        return []
    lines = f"= tied: these images do not tell the {len(tied)} apart"
    apart = ranking.separation
    if apart is None:
        return [lines]
    pair = f"{apart.first} from {apart.second}"
    if apart.images_needed is None:
        return [f"{lines}; not even {MOST_TIMES} times as many would likely tell {pair}"]
    return [f"{lines}; about {_rounded(apart.images_needed)} more would likely tell {pair}"]


def drift_table(drifts: Sequence[Drift], by: str) -> Table:
    """Variants in fewer bits against their float32 parents, by the score that decides the order."""
    digits = 2 if by == COMBINED else 4
    header = ("variant", "parent", by, "+-", "head %", "same top-1 %", "time", "size", "memory", "here")
    rows = [
        (
            drift.model,
            drift.parent,
            f"{drift.score:+.{digits}f}",
            "" if drift.standard_error is None else f"{drift.standard_error:.{digits}f}",
            "" if drift.head is None else f"{100 * drift.head:+.1f}",
            "" if drift.top1_agreement is None else f"{100 * drift.top1_agreement:.1f}",
            "" if drift.latency is None else f"{'~ ' if drift.latency_in_doubt else ''}x {drift.latency:.2f}",
            f"x {drift.size:.2f}",
            "" if drift.memory is None else f"x {drift.memory:.2f}",
            ", ".join(drift.verdict) or "as good",
        )
        for drift in drifts
    ]
    return Table(header, rows, tuple(name not in ("variant", "parent", "here") for name in header))


def race_saved(race: Race) -> str:
    """What racing saved."""
    if race.passes == race.passes_of_full_run:
        return f"Race: it saved nothing; no model left it before all {race.samples[-1]:,} images."
    saved = race.passes_of_full_run / race.passes
    return (
        f"Race: {race.passes:,} images through models instead of {race.passes_of_full_run:,}, {saved:.1f} times fewer; "
        f"samples of {', '.join(f'{n:,}' for n in race.samples)}."
    )


def race_table(race: Race) -> Table:
    """The models that left a race."""
    header = ("dropped", "after images", "behind", "by", "+-", "standard errors")
    rows = [
        (
            dropped.model,
            f"{dropped.n_images:,}",
            dropped.leader,
            f"{dropped.deficit:.3f}",
            f"{dropped.standard_error:.3f}",
            f"{dropped.deficit / dropped.standard_error:.1f}" if dropped.standard_error else "",
        )
        for dropped in race.dropped
    ]
    return Table(header, rows, (False, True, False, True, True, True))


def race_risked(race: Race) -> str:
    """How models were dropped, and what that risks."""
    return (
        f"Each was behind the best on the same images by more than {race.errors:g} standard errors; the chance "
        f"that noise put out the best of a full run is below {race.risk:.1%}."
    )


def race_outside(race: Race) -> list[str]:
    """The models that a budget kept from starting."""
    return [f"Did not start: {name}, over {', '.join(limits)}" for name, limits in race.outside]


def _rounded(n: int) -> str:
    """To two digits: it is an estimate."""
    unit = 10 ** max(len(str(n)) - 2, 0)
    return f"{math.ceil(n / unit) * unit:,}"
