"""Evaluation of how well each candidate orders extractors, on sets and networks that were not used for fitting."""

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

# Number of bootstrap replicates over sets, for intervals of means.
RESAMPLES = 2000
# Maximum number of zoos per half of the networks; the posterior of the default order is slow.
MOST_ZOOS = 20

DEFAULT, FIXED, CEILING = "default", "default, as shipped", "ceiling: a half of the truth by the other"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Outcome of a candidate in one zoo.

    Attributes:
        goal: name of the goal.
        data: name of the set.
        n: number of images.
        candidate: name of the candidate.
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
    """Accuracy of the expectations in one zoo.

    Attributes:
        goal: name of the goal.
        data: name of the set.
        n: number of images.
        inside: share of intervals that contain the held-out accuracy, over all models.
        chosen: the same for the first model only.
        promised: expected loss of the first model, in points.
        lost: true loss of the first model, in points.
        width: mean width of the intervals, in points.
        bias: mean difference of expected and true accuracies, in points.
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
    """Yield calibrations fitted without a family of sets and half of the networks, with held-out groups and extractors.

    Yields:
        The calibration, a group of the held-out family, and the positions of its extractors of held-out networks.
    """
    networks = sorted(set().union(*(set(group.networks) for group in groups)))
    for family in sorted({group.family for group in groups}):
        others = [group for group in groups if group.family != family]
        for half in (0, 1):
            calibration = fitted(goal, others, networks[half::2])
            for group in groups:
                if group.family == family:
                    yield calibration, group, np.flatnonzero(np.isin(group.networks, networks[1 - half :: 2]))


def judged(goal: str, groups: Sequence[Extractors]) -> tuple[list[Outcome], list[Held]]:
    """Return the outcomes of every candidate, and the accuracy of the expectations of the default order."""
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
    """Return outcomes on whole networks only, including scores of predictions and baselines that use no images."""
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
    """Return a row per goal, size and candidate, best first: means over sets, and differences from a reference.

    Intervals are for means over sets, by bootstrap over sets.
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
    """Return the accuracy of expectations per goal, size and set, and its mean over sets."""
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
    """Write rows as CSV with the columns of the first row; write nothing if there are no rows."""
    if not rows:
        return
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, or an empty list if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
