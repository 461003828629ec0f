"""Fit of a `Calibration`, which maps statistics of scores to expected accuracies, to some sets and networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from leepfrog.ranking.expectation import Calibration, Statistic, _Seen, expectation
from leepfrog.ranking.goals import GOALS
from studies.default_order.tables import Extractors, outcome, zoos

# Upper bounds of correlations to choose from. Statistics never determine the accuracy completely, and differences of
# their covariances exaggerate how much they do.
MOST_CORRELATION = (0.98, 0.95, 0.91)
# Number of zoos per group that the choice is made on.
ZOOS = 6


def angle(share: np.ndarray) -> np.ndarray:
    """Return asin(sqrt(share)), which stabilises the variance of a share."""
    return np.arcsin(np.sqrt(share))


def fitted(goal: str, groups: Sequence[Extractors], networks: Sequence[str]) -> Calibration:
    """Fit the calibration of a goal to extractors of some networks.

    Covariances among models are means over groups of the observed covariance minus that of the noise; each family of
    sets has the same weight. The upper bound of the correlations is the one whose order agrees best with the truth.
    """
    start = GOALS[goal].calibration
    statistics, covariances, shifts, families = start.statistics, [], [], []
    for group in groups:
        members = np.flatnonzero(np.isin(group.networks, networks))
        true, seen = angle(group.truth(goal)[members]), _seen(group, members, start)
        values = np.vstack([true, seen.values.reshape(len(statistics), -1)])
        apart = values - values.mean(axis=1, keepdims=True)
        covariance = apart @ apart.T / (len(members) - 1)
        middle = (np.eye(len(members)) - 1 / len(members)) / (len(members) - 1)
        blocks = seen.noise.reshape(len(statistics), len(members), len(statistics), len(members))
        covariance[1:, 1:] -= np.einsum("ij,ajbi->ab", middle, blocks)
        noise = blocks[0, :, 0, :]
        of_truth = 1 / (4 * group.n_test)
        shifts.append(
            (float((values[0] - values[1]).mean()), len(np.unique(group.labels)) / group.n, noise.mean() + of_truth)
        )
        covariances.append(covariance)
        families.append(group.family)
    weights = np.array([1 / families.count(family) for family in families])
    weights /= weights.sum()
    covariance = np.tensordot(weights, covariances, 1)
    spread = float(np.sqrt(covariance[0, 0]))
    slopes = covariance[0, 1:] / covariance[0, 0]
    correlations = covariance[0, 1:] / (spread * np.sqrt(np.maximum(np.diag(covariance)[1:], 1e-12)))
    shift, few, common = _shifts(np.array(shifts), weights, start.common)
    found = dataclasses.replace(
        start,
        statistics=tuple(
            dataclasses.replace(
                statistic, slope=1.0 if i == 0 else float(slopes[i]), correlation=float(correlations[i])
            )
            for i, statistic in enumerate(statistics)
        ),
        spread=spread,
        shift=shift,
        shift_of_few=few,
        common=common,
    )
    choices = [_bounded(found, most) for most in MOST_CORRELATION]
    if len(statistics) == 1:  # the order does not depend on it
        return choices[0]
    return max(choices, key=lambda choice: _agreement(goal, choice, groups, networks, weights))


def _bounded(calibration: Calibration, most: float) -> Calibration:
    """Limit the correlations of all statistics."""
    bounded = tuple(
        dataclasses.replace(statistic, correlation=float(np.clip(statistic.correlation, 0.1, most)))
        for statistic in calibration.statistics
    )
    return dataclasses.replace(calibration, statistics=bounded)


def _agreement(
    goal: str, calibration: Calibration, groups: Sequence[Extractors], networks: Sequence[str], weights: np.ndarray
) -> float:
    """Return the weighted tau of a calibration's order with the truth, as a weighted mean over groups."""
    taus = []
    for group in groups:
        members = np.flatnonzero(np.isin(group.networks, networks))
        truth = group.truth(goal)
        of_zoos = [
            outcome(expectation(group.scores(zoo), group.labels, calibration).accuracy, truth[zoo])[0]
            for zoo in zoos(members, group.seed)[:ZOOS]
        ]
        taus.append(np.mean(of_zoos))
    return float(weights @ taus)


def _shifts(shifts: np.ndarray, weights: np.ndarray, least: float) -> tuple[float, float, float]:
    """Fit shift + few / images per class by weighted least squares.

    Returns:
        shift, few, and the residual standard deviation among sets. The latter is at least `least`, since it cannot be
        estimated reliably from few sets.
    """
    seen, of_few, noise = shifts.T
    design = np.column_stack([np.ones(len(seen)), of_few])
    weights = weights / (noise + 0.01**2)
    shift, few = np.linalg.solve((design * weights[:, None]).T @ design, (design * weights[:, None]).T @ seen)
    left = np.sum(weights * ((seen - design @ [shift, few]) ** 2 - noise)) / weights.sum()
    return float(shift), float(few), float(np.sqrt(max(left, least**2)))


def _seen(group: Extractors, members: np.ndarray, calibration: Calibration) -> _Seen:
    scores = group.scores(members)
    terms = [np.stack([statistic.terms(of_model) for of_model in scores]) for statistic in calibration.statistics]
    return _Seen.of(terms, group.labels, group.n, calibration)


def described(calibration: Calibration) -> list[str]:
    """Return lines with the numbers of a calibration, for copying to `leepfrog.ranking.goals`."""
    lines = [_statistic(statistic) for statistic in calibration.statistics]
    rest = {f.name: getattr(calibration, f.name) for f in dataclasses.fields(calibration) if f.name != "statistics"}
    return [*lines, ", ".join(f"{name}={value:.3g}" for name, value in rest.items())]


def _statistic(statistic: Statistic) -> str:
    name = statistic.score + (f".{statistic.part}" if statistic.part else "")
    return f"{name}: slope {statistic.slope:.2f}, correlation {statistic.correlation:.2f}"
