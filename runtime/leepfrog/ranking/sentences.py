"""Sentences that summarize a ranking, shared by the command line and the report."""

from __future__ import annotations

import math

from leepfrog.costs.formatting import milliseconds
from leepfrog.ranking.budget import Budget
from leepfrog.ranking.certainty import MOST_TIMES
from leepfrog.ranking.goal_names import TRUST
from leepfrog.ranking.racing import Race
from leepfrog.ranking.result import RankedModel, Ranking
from leepfrog.ranking.score_format import format_of, points

# A tied model is recommended as faster if it takes at most this share of the time.
WORTH_SAYING = 0.9


def chance_level(ranking: Ranking) -> float:
    """Return the LEEP of a predictor that knows only the class sizes: minus the entropy of the classes."""
    shares = [n / ranking.n_images for n in ranking.classes.values() if n]
    return sum(share * math.log(share) for share in shares)


def verdict(ranking: Ranking) -> str:
    """Return the recommended model in one sentence."""
    first = ranking.best or ranking[0]
    shown = format_of(ranking.ranked_by)
    score = first.scores[ranking.ranked_by]
    text = f"{first.name}: {shown.words} {shown.value(score.value)}{shown.unit}"
    if score.interval is not None:
        text += f" (90 % interval {shown.interval(*score.interval)}{shown.unit})"
    if first.expected_loss is not None and len(ranking) > 1:
        rival = "the best of these" if first is ranking[0] else "the best, which is outside the budget"
        text += f"; choosing it loses {points(first.expected_loss)} points on average against {rival}"
    return f"no model is within the budget; the best of the others is {text}." if ranking.best is None else f"{text}."


def trade_offs_in_words(ranking: Ranking) -> list[str]:
    """Return which model is better than the recommended one but over the budget, and which is tied with it but faster.

    Empty if there is no such model, or if no model is within the budget.
    """
    lines: list[str] = []
    first, best = ranking[0], ranking.best
    if best is None:
        return lines
    if first is not best:
        shown = format_of(ranking.ranked_by)
        value = shown.value(first.scores[ranking.ranked_by].value)
        lines.append(f"Outside the budget, {first.name} has {value}{shown.unit} ({over_budget(first)}).")
    rivals = [(cost.latency, model) for model, cost in ranking.priced if model.name in best.tied_with]
    rivals = [(latency, model) for latency, model in rivals if not model.outside]
    latency, fastest = min(rivals, key=lambda rival: rival[0], default=(math.inf, best))
    if best.cost is not None and latency <= WORTH_SAYING * best.cost.latency:
        times = f"{milliseconds(fastest.cost)} instead of {milliseconds(best.cost)} ms per image"
        loss = fastest.expected_loss
        loses = "" if loss is None else f"; choosing it loses {points(loss)} points on average"
        lines.append(f"{fastest.name} is tied with it and faster: {times}{loses}.")
    return lines


def over_budget(model: RankedModel) -> str:
    """Return the exceeded budget limits, with "?" after those whose measurement is in doubt; "" if there are none."""
    limits = (f"{limit}?" if limit in model.doubtful else limit for limit in model.outside)
    return f"over {', '.join(limits)}" if model.outside else ""


def trust_in_words(ranking: Ranking) -> list[str]:
    """Return how well the order is known to predict accuracy for the goal.

    Empty if a score decides the order, or if there is nothing to order.
    """
    if ranking.goal is None or len(ranking) < 2:
        return []
    of_arrays = not any(model.sha256 for model in ranking)
    return [TRUST[ranking.goal] + of_arrays * " Other kinds of data than images were not studied."]


def certainty_in_words(ranking: Ranking) -> list[str]:
    """Return which models are tied and how many images would separate the first two; empty without ties."""
    tied = ranking.tied
    if len(tied) < 2:
        return []
    lines = f"= tied: these images do not separate the {len(tied)} models"
    apart = ranking.separation
    if apart is None:
        return [lines]
    pair = f"{apart.first} from {apart.second}"
    if apart.images_needed is None:
        return [f"{lines}; even {MOST_TIMES} times as many would probably not separate {pair}"]
    return [f"{lines}; about {_rounded(apart.images_needed)} more would probably separate {pair}"]


def front_in_words(ranking: Ranking) -> list[str]:
    """Return what the front mark means; empty if no model is marked or there is only one."""
    if len(ranking) < 2 or not any(model.on_front for model in ranking):
        return []
    others = "no other model" if ranking.budget == Budget() else "no other model within the budget"
    return [f"* front: {others} beats these in both {format_of(ranking.ranked_by).words} and latency"]


def places_in_words(ranking: Ranking) -> list[str]:
    """Return where costs were measured and which are unknown; empty if all were measured on this machine."""
    places = dict.fromkeys(cost.place for _, cost in ranking.priced if not cost.measured_here)
    lines = [f"Costs are from {place}, not from this machine." for place in places]
    if unknown := [model.name for model in ranking.models if model.cost is None and model.sha256]:
        lines.append(f"Not considered for the front because their costs are unknown: {', '.join(unknown)}.")
    return lines


def doubts_in_words(ranking: Ranking) -> list[str]:
    """Return which costs are in doubt and what depends on them; empty if the machine was quiet."""
    # The relative latency is used only by `check` and not shown here.
    doubtful = [model for model in ranking.models if set(model.doubtful) - {"relative_latency"}]
    if not doubtful:
        return []
    slow = [model.name for model in doubtful if model.latency_in_doubt]
    kinds = dict.fromkeys(name.replace("_", " ") for model in doubtful for name in model.doubtful)
    what = f"~ latencies in doubt, {', '.join(slow)}" if slow else f"{', '.join(kinds)} in doubt"
    bound = " They are upper bounds." if slow else ""
    where = next(cost.place_in_words for _, cost in ranking.priced if cost.doubtful)
    why = f"{what}: other work slowed {where} while costs were measured.{bound}"
    lines = [f"{why} Measure again when the machine is quiet: leepfrog bench."]
    if slow and any(model.on_front for model in ranking.models) and len(ranking.models) > 1:
        lines.append("The front depends on latencies in doubt.")
    if open_ := [model.name for model in doubtful if set(model.outside) & set(model.doubtful)]:
        lines.append(f"Whether these are within the budget is in doubt: {', '.join(open_)}.")
    return lines


def race_saved(race: Race) -> str:
    """Return how much inference racing saved."""
    if race.passes == race.passes_of_full_run:
        return f"Race: nothing saved; no model was dropped before all {race.samples[-1]:,} images."
    saved = race.passes_of_full_run / race.passes
    return (
        f"Race: {race.passes:,} forward passes instead of {race.passes_of_full_run:,}, {saved:.1f} times fewer; "
        f"samples of {', '.join(f'{n:,}' for n in race.samples)} images."
    )


def race_risked(race: Race) -> str:
    """Return the rule by which models were dropped and the risk that it dropped the best."""
    return (
        f"Each was more than {race.errors:g} standard errors behind the best on the same images; the probability "
        f"that noise eliminated the best model of a full run is below {race.risk:.1%}."
    )


def race_outside(race: Race) -> list[str]:
    """Return the models that did not start the race because they exceed the budget."""
    return [f"Did not start: {name}, over {', '.join(limits)}" for name, limits in race.outside]


def _rounded(n: int) -> str:
    """Round up to two significant digits, since the number is an estimate."""
    unit = 10 ** max(len(str(n)) - 2, 0)
    return f"{math.ceil(n / unit) * unit:,}"
