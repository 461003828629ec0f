"""Who orders extractors as their truths do: every candidate, on sets and networks that no choice was made on."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from leepfrog.ranking.expectation import Calibration, expectation
from leepfrog.ranking.goals import GOALS
from studies.default_order.calibrate import fitted
from studies.default_order.tables import Candidate, Extractors, candidates, outcome, zoos

# So many times sets are drawn again, for intervals of means over sets.
RESAMPLES = 2000
# Of the default, whose posterior takes longest, so many zoos of each half of the networks.
MOST_ZOOS = 20

DEFAULT, FIXED, CEILING = "default", "default, as shipped", "ceiling: a half of the truth by the other"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a candidate did in one zoo.

    Attributes:
        goal, data, n, candidate: which.
        tau, regret, within: see `outcome`.
    """

    goal: str
    data: str
    n: int
    candidate: str
    tau: float
    regret: float
    within: float


@dataclasses.dataclass(frozen=True)
class Held:
    """How an expectation held in one zoo.

    Attributes:
        goal, data, n: which.
        inside, chosen: the share of intervals that hold the accuracy on images held out, of all and of the first.
        promised, lost: points that the first was expected to lose, and lost.
        width, bias: mean of the intervals' widths, and of expected less true accuracies, in points.
    """

    goal: str
    data: str
    n: int
    inside: float
    chosen: float
    promised: float
    lost: float
    width: float
    bias: float


def fold_calibrations(goal: str, groups: Sequence[Extractors]) -> Iterator[tuple[Calibration, Extractors, np.ndarray]]:
    """A calibration fitted without a family of sets and half of the networks; a group of these; its extractors."""
    networks = sorted(set().union(*(set(group.networks) for group in groups)))
    for family in sorted({group.family for group in groups}):
        others = [group for group in groups if group.family != family]
        for half in (0, 1):
            calibration = fitted(goal, others, networks[half::2])
            for group in groups:
                if group.family == family:
                    yield calibration, group, np.flatnonzero(np.isin(group.networks, networks[1 - half :: 2]))


def judged(goal: str, groups: Sequence[Extractors]) -> tuple[list[Outcome], list[Held]]:
    """Every candidate's outcomes, and how the default's expectations held."""
    outcomes, held = [], []
    for calibration, group, among in fold_calibrations(goal, groups):
        true, rivals = group.truth(goal), candidates(group)
        for members in zoos(among, group.seed)[:MOST_ZOOS]:
            truth = true[members]
            expected = expectation(group.scores(members), group.labels, calibration)
            estimates = {name: candidate(group, members) for name, candidate in rivals.items()}
            estimates[DEFAULT] = expected.accuracy
            shipped = GOALS[goal].expectation(group.scores(members), group.labels)
            estimates[FIXED] = shipped.accuracy
            for name, estimate in estimates.items():
                outcomes.append(Outcome(goal, group.data, group.n, name, *outcome(estimate, truth)))
            if goal == "head":
                halves = group.values["truth/head"][members, 1:]
                outcomes.append(Outcome(goal, group.data, group.n, CEILING, *outcome(halves[:, 0], halves[:, 1])))
            holds = (expected.interval[:, 0] <= truth) & (truth <= expected.interval[:, 1])
            first = int(expected.accuracy.argmax())
            held.append(
                Held(
                    goal, group.data, group.n, float(holds.mean()), float(holds[first]),
                    100 * float(expected.loss[first]), 100 * float(truth.max() - truth[first]),
                    100 * float(np.ptp(expected.interval, axis=1).mean()),
                    100 * float((expected.accuracy - truth).mean()),
                )
            )  # fmt: skip
    return outcomes, held


def whole_networks(goal: str, groups: Sequence[Extractors], facts: dict[str, dict[str, float]]) -> list[Outcome]:
    """Outcomes on whole networks alone: with scores of predictions, and baselines that look at no image."""
    outcomes = []
    for group in groups:
        true = group.truth(goal)
        whole = np.array(
            [i for i, name in enumerate(group.names) if name.endswith("/features") and not np.isnan(true[i])]
        )
        rivals: dict[str, Candidate] = {
            key.removeprefix("score/"): lambda group, members, key=key: group.values[key][members]
            for key in group.values
            if key.startswith("score/") and np.isfinite(group.values[key][whole]).all()
        }
        for fact in next(iter(facts.values())):
            rivals[f"baseline {fact}"] = lambda group, members, fact=fact: np.array(
                [facts[group.networks[i]][fact] for i in members]
            )
        for members in zoos(whole, group.seed):
            shipped = GOALS[goal].expectation(group.scores(members), group.labels)
            for name, estimate in {
                FIXED: shipped.accuracy, **{name: rival(group, members) for name, rival in rivals.items()}
            }.items():  # fmt: skip
                outcomes.append(Outcome(goal, group.data, group.n, name, *outcome(estimate, true[members])))
    return outcomes


def table(outcomes: Sequence[Outcome], reference: str) -> list[dict[str, object]]:
    """A row for each goal, size and candidate, best first: means over sets, and differences to a reference.

    Intervals are of means over sets, with sets drawn again.
    """
    by: dict[tuple[str, int, str], dict[str, list[tuple[float, float, float]]]] = {}
    for each in outcomes:
        of_sets = by.setdefault((each.goal, each.n, each.candidate), {})
        of_sets.setdefault(each.data, []).append((each.tau, each.regret, each.within))
    rows = []
    for (goal, n, name), of_sets in by.items():
        sets = sorted(of_sets)
        means = np.array([np.mean(of_sets[data], axis=0) for data in sets])
        against = by[goal, n, reference]
        apart = means - np.array([np.mean(against[data], axis=0) for data in sets])
        drawn = np.random.default_rng(0).integers(0, len(sets), (RESAMPLES, len(sets)))
        low, high = np.quantile(apart[drawn].mean(axis=1), [0.05, 0.95], axis=0)
        tau, regret, within = means.mean(axis=0)
        rows.append(
            {
                "goal": goal, "images": n, "candidate": name, "sets": len(sets), "weighted_tau": round(tau, 3),
                "regret": round(regret, 2), "within_a_point": round(within, 3),
                "tau_difference": round(apart[:, 0].mean(), 3), "tau_low": round(low[0], 3),
                "tau_high": round(high[0], 3),
                "regret_difference": round(apart[:, 1].mean(), 2), "regret_low": round(low[1], 2),
                "regret_high": round(high[1], 2),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: (str(row["goal"]), int(str(row["images"])), -float(str(row["weighted_tau"]))))


def coverage(held: Sequence[Held]) -> list[dict[str, object]]:
    """How expectations held, by goal, size and set, and the mean over sets."""
    rows: list[dict[str, object]] = []
    for goal, n in sorted({(each.goal, each.n) for each in held}):
        of_sets = {}
        for data in sorted({each.data for each in held if (each.goal, each.n) == (goal, n)}):
            chosen = [each for each in held if (each.goal, each.n, each.data) == (goal, n, data)]
            of_sets[data] = np.mean([dataclasses.astuple(each)[3:] for each in chosen], axis=0)
        of_sets["mean"] = np.mean(list(of_sets.values()), axis=0)
        names = [field.name for field in dataclasses.fields(Held)][3:]
        for data, values in of_sets.items():
            numbers = {name: round(float(value), 3) for name, value in zip(names, values, strict=True)}
            rows.append({"goal": goal, "images": n, "data": data, **numbers})
    return rows


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Rows as a CSV file, its columns those of the first; nothing where there are none."""
    if not rows:
        return
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
