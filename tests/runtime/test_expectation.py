"""Expected accuracies against conditioning of a joint normal distribution, and on data with known truth."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.ranking.expectation import Calibration, Statistic, _posterior, _Seen, expectation
from leepfrog.ranking.goals import GOALS
from leepfrog.scoring.score import Score, mean_of
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CALIBRATION = Calibration(
    statistics=(Statistic("hits", None, True, 1.0, 0.97), Statistic("hits", "likelihood", False, 2.2, 0.9)),
    spread=0.1, weight=4.0, shift=0.02, shift_of_few=0.3, common=0.01, common_of_few=0.1, shared=0.4, noise_of_few=3.0,
)  # fmt: skip


def models(correct: Floats, terms: Floats, labels: NDArray[np.int64]) -> list[dict[str, Score]]:
    """Build scores from 0/1 correctness [M, N] and log-likelihoods [M, N]."""
    found = []
    for hits, likelihoods in zip(correct, terms, strict=True):
        score = mean_of("hits", hits.astype(float), labels, 8, {})
        likelihood = mean_of("likelihood", likelihoods, labels, 8, {})
        found.append({"hits": dataclasses.replace(score, parts={"likelihood": likelihood})})
    return found


def made(
    n_models: int, n: int, seed: int, spread: float = 0.3
) -> tuple[Floats, list[dict[str, Score]], NDArray[np.int64]]:
    """Draw true accuracies, scores and labels from a probit model in which models share hard images."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(1.0, spread, n_models)
    margins = ability[:, None] - rng.normal(0, 0.7, n) - rng.normal(0, 0.7, (n_models, n))
    truth = np.array([(1 + math.erf(a / math.sqrt(2) / math.hypot(0.7, 0.7))) / 2 for a in ability])
    labels = np.arange(n) % 5
    return truth, models(margins > 0, -np.logaddexp(0, -2 * margins), labels), labels


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 7), st.integers(10, 60), st.integers(0, 1000))
def test_the_posterior_is_that_of_the_joint_distribution(n_models: int, n: int, seed: int) -> None:
    """Angles, means of each statistic and observations are jointly normal, with a vague prior on the means."""
    _, scores, labels = made(n_models, n, seed)
    terms = [np.stack([statistic.terms(model) for model in scores]) for statistic in CALIBRATION.statistics]
    seen = _Seen.of(terms, labels, n, CALIBRATION)
    # At this weight, the prior spread outweighs the observed one.
    usual = dataclasses.replace(CALIBRATION, weight=1e12)
    mean, covariance, gain = _posterior(seen, usual)
    variance, slope = 0.1**2, 2.2
    ratio = math.sqrt(1 / 0.97**2 - 1), slope * math.sqrt(1 / 0.9**2 - 1)
    of_kinds = variance * np.array(
        [
            [1 + ratio[0] ** 2, slope + 0.4 * ratio[0] * ratio[1]],
            [slope + 0.4 * ratio[0] * ratio[1], slope**2 + ratio[1] ** 2],
        ]
    )
    one, unknown = np.eye(n_models), 1e4
    kinds = np.kron(np.eye(2), np.ones((n_models, 1)))
    of_seen = np.kron(of_kinds, one) + seen.noise + unknown * kinds @ kinds.T
    # An angle is the mean of the first statistic plus the deviation of the model.
    both = np.hstack([variance * one + unknown, slope * variance * one])
    expected = both @ np.linalg.solve(of_seen, seen.values)
    np.testing.assert_allclose(mean, expected, atol=1e-4)
    np.testing.assert_allclose(
        covariance, variance * one + unknown - both @ np.linalg.solve(of_seen, both.T), atol=1e-4
    )
    np.testing.assert_allclose(gain @ seen.values, mean)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 8), st.integers(4, 80), st.integers(0, 1000))
def test_what_is_expected_is_consistent(n_models: int, n: int, seed: int) -> None:
    _, scores, labels = made(n_models, n, seed)
    found = expectation(scores, labels, CALIBRATION)
    low, high = found.interval.T
    assert ((low >= 0) & (low < found.accuracy)).all()
    assert ((found.accuracy < high) & (high <= 1)).all()
    assert (found.loss >= 0).all()
    # The model with the highest expected accuracy has the smallest expected loss; both come from the same draws.
    best, least = int(found.accuracy.argmax()), int(found.loss.argmin())
    assert found.loss[best] == pytest.approx(found.loss[least], abs=0.003)
    np.testing.assert_allclose(found.draws.mean(axis=0), found.accuracy, atol=0.01)
    np.testing.assert_allclose(found.terms.mean(axis=1), found.accuracy)
    # Results do not depend on the order in which models are listed.
    turned = expectation(scores[::-1], labels, CALIBRATION)
    np.testing.assert_allclose(turned.accuracy[::-1], found.accuracy, atol=0.01)


def test_terms_say_what_images_do() -> None:
    """Terms are influences of images: they predict the accuracy without some of them, for a fixed spread."""
    _, scores, labels = made(6, 300, 0)
    usual = dataclasses.replace(CALIBRATION, weight=1e12)
    found = expectation(scores, labels, usual)
    without = np.setdiff1d(np.arange(300), np.arange(0, 300, 30))
    parts = [
        models(
            score["hits"].terms[None, without], score["hits"].parts["likelihood"].terms[None, without], labels[without]
        )
        for score in scores
    ]
    fewer = expectation([part[0] for part in parts], labels[without], usual)
    np.testing.assert_allclose(found.terms[:, without].mean(axis=1), fewer.accuracy, atol=0.004)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_models_that_know_nothing_or_everything(right: float) -> None:
    labels = np.arange(30) % 3
    scores = models(np.full((3, 30), right), np.full((3, 30), -0.1), labels)
    found = expectation(scores, labels, CALIBRATION)
    low, high = found.interval.T
    assert np.isfinite(found.draws).all()
    assert (high - low > 0.01).all()  # 30 images leave some uncertainty
    assert (np.abs(found.accuracy - right) < 0.1).all()


@pytest.mark.full
@pytest.mark.parametrize(("n_models", "n"), [(2, 50), (8, 50), (8, 300), (20, 300)])
def test_intervals_hold_the_truth(n_models: int, n: int) -> None:
    """Intervals cover the truth, also for the model selected as best, and expected losses are large enough."""
    plain = dataclasses.replace(
        CALIBRATION, shift=0.0, shift_of_few=0.0, common=0.0, common_of_few=0.0, noise_of_few=0.5
    )
    inside, first, promised, lost = [], [], [], []
    for seed in range(150):
        truth, scores, labels = made(n_models, n, seed)
        found = expectation(scores, labels, plain)
        holds = (found.interval[:, 0] <= truth) & (truth <= found.interval[:, 1])
        best = int(found.accuracy.argmax())
        inside.append(holds.mean())
        first.append(holds[best])
        promised.append(found.loss[best])
        lost.append(truth.max() - truth[best])
    assert 0.83 <= np.mean(inside) <= 0.99
    assert np.mean(first) >= 0.75
    assert np.mean(lost) < 2 * np.mean(promised) + 0.002


def test_goals_read_scores_that_leave_images_out() -> None:
    from leepfrog.scoring.registry import SCORES

    for goal in GOALS.values():
        assert all(SCORES[name].held_out for name in goal.reads)
        assert goal.calibration.statistics[0].is_share
        assert goal.calibration.statistics[0].slope == 1
