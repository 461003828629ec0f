"""Intervals, ties and probabilities: brute force, the spread of real samples, and edge cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.ranking.certainty import Certainty, certainty_of
from leepfrog.ranking.decision import Decision
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample, ProbSample, Sample
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.softmax import softmax
from leepfrog.scoring.uncertainty import intervals, resampled_means, standard_error, strata
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Floats = NDArray[np.float64]
labellings = st.lists(st.integers(0, 5), min_size=2, max_size=40).map(np.array)


@pytest.fixture(scope="module")
def digits() -> Sample:
    """All of scikit-learn's digits, with the predictions of a head that was fitted to different classes."""
    features, labels = load_digits(return_X_y=True)
    x = (features - features.mean(axis=0)) / features.std()
    half = np.arange(0, len(x), 2)
    other = labels[half] // 2 + 5 * (features[half, 20] > 8)
    head = fit_softmax(x[half], other, np.full(len(half), 1 / len(half)), 10, 0.01, 1e-4)
    labels = labels.astype(np.int64)
    return Sample(ProbSample(labels, 10, softmax(head.logits(x))), FeatureSample(labels, 10, x))


def part(sample: Sample, rows: NDArray[np.int64]) -> Sample:
    assert sample.probs is not None
    assert sample.features is not None
    return Sample(sample.probs.part(rows), sample.features.part(rows))


@settings(max_examples=30, deadline=None)
@given(labellings, st.integers(0, 10))
def test_a_resample_has_each_stratum_s_images(labels: NDArray[np.int64], seed: int) -> None:
    """With one-hot terms, the resampled means count how often each image is drawn."""
    n = len(labels)
    order, starts = strata(labels)
    assert sorted(order) == list(range(n))
    sizes = np.diff(starts)
    assert (sizes > 1).all()
    draws = n * resampled_means(np.eye(n), labels, replicates=20, seed=seed)
    for a, b in itertools.pairwise(starts):
        members = order[a:b]
        # Undo the scaling around 1, the mean of a count.
        counts = 1 + (draws[:, members] - 1) / math.sqrt((b - a) / (b - a - 1))
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
        np.testing.assert_allclose(counts.sum(axis=1), b - a, atol=1e-9)
    stratum = np.empty(n, int)
    stratum[order] = np.repeat(np.arange(len(sizes)), sizes)
    assert all(len(set(stratum[labels == label])) == 1 for label in np.unique(labels))
    np.testing.assert_array_equal(draws, n * resampled_means(np.eye(n), labels, replicates=20, seed=seed))


def test_draws_are_even() -> None:
    labels = np.repeat([0, 1], [7, 100])
    draws = 107 * resampled_means(np.eye(107), labels, replicates=20_000)
    counts = draws.mean(axis=0)
    # Each value is a mean of 20,000 counts with a variance of about 1.
    np.testing.assert_allclose(counts, 1, atol=4.5 / math.sqrt(20_000))


def test_replicates_spread_as_the_standard_error_says() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), [1, 1, 2, 3, 40, 100])
    terms = rng.normal(0, 1 + labels, 147)
    replicates = resampled_means(np.stack([terms, terms + 3, -terms], axis=1), labels, replicates=20_000)
    assert replicates[:, 0].std() == pytest.approx(standard_error(terms, labels), rel=0.03)
    np.testing.assert_allclose(replicates[:, 1] - replicates[:, 0], 3)  # paired
    np.testing.assert_allclose(replicates[:, 2], -replicates[:, 0])
    low, high = intervals(replicates)[0]
    assert (high - low) / 2 == pytest.approx(1.645 * replicates[:, 0].std(), rel=0.05)
    # Only variation within a class contributes.
    assert standard_error(labels.astype(float), np.repeat(np.arange(6), [2, 1, 2, 2, 40, 100])) > 0
    assert standard_error(labels.astype(float)[2:], labels[2:]) == 0


def test_one_image_a_class_still_varies() -> None:
    assert standard_error(np.array([0.0, 1.0, 2.0]), np.arange(3)) == pytest.approx(1 / math.sqrt(3))
    assert standard_error(np.array([1.0]), np.array([0])) is None


@pytest.mark.parametrize("name", list(SCORES))
def test_terms_average_to_the_score(name: str, digits: Sample) -> None:
    score = SCORES[name].of(part(digits, np.arange(120)))
    assert score.terms.mean() == pytest.approx(score.value, abs=1e-9)
    assert score.standard_error == pytest.approx(standard_error(score.terms, digits.labels[:120]))


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "correlation", "error"),
    # PARC's terms take the principal components as fixed, but removing an image rotates them.
    [*((name, 0.97, 0.12) for name in ("leep", "logme", "h_score", "gbc", "transrate")), ("parc", 0.75, 0.35)],
)
def test_terms_are_what_an_image_does_to_the_score(name: str, correlation: float, error: float, digits: Sample) -> None:
    """Terms agree with the jackknife, which recomputes the score without each image."""
    rows = np.arange(0, 1797, 9)
    n = len(rows)
    score = SCORES[name].of(part(digits, rows))
    without = np.array([SCORES[name].of(part(digits, np.delete(rows, i))).value for i in range(n)])
    one_hot = np.eye(10)[digits.labels[rows]]

    def within(values: Floats) -> Floats:
        return values - one_hot @ ((one_hot.T @ values) / one_hot.sum(axis=0))

    brute, terms = within(-(n - 1) * without), within(score.terms)
    assert np.corrcoef(brute, terms)[0, 1] > correlation
    assert terms.std() / brute.std() == pytest.approx(1, abs=error)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("leep_loo", 0.8),
        ("leep", 0.8),
        ("ridge", 0.75),
        ("logme", 0.8),
        ("gbc", 0.8),
        ("transrate", 0.75),
    ],
)
def test_intervals_cover_the_score_s_mean_over_samples(name: str, least: float, digits: Sample) -> None:
    """90 % intervals of 100 samples of 150 images each, out of 1,797."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(digits.labels == label) for label in range(10)]
    results = []
    for _ in range(100):
        rows = np.concatenate([rng.permutation(indices)[:15] for indices in members])
        score = SCORES[name].of(part(digits, rows))
        low, high = intervals(resampled_means(score.terms[:, None], digits.labels[rows], seed=1))[0]
        results.append((score.value, low, high))
    values, low, high = np.array(results).T
    covered = np.mean((low <= values.mean()) & (values.mean() <= high))
    assert least <= covered <= 0.98


def scored(terms: Floats, labels: NDArray[np.int64]) -> dict[str, Score]:
    return {"made": mean_of("made", terms, labels, 2, {})}


def certain(names: str, terms: list[Floats], labels: NDArray[np.int64]) -> Certainty:
    return certainty_of(list(names), Decision("made", [scored(values, labels) for values in terms], None), labels)


def test_certainty() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    hard = rng.normal(-2, 1, 200)
    noise = [rng.normal(0, 0.3, 200) for _ in range(4)]
    terms = [hard + 0.01 + noise[0], hard + noise[1], hard - 0.2 + noise[2], hard - 0.21 + noise[3]]
    terms = [values - values.mean() + mean for values, mean in zip(terms, (-2.0, -2.01, -2.2, -2.21), strict=True)]
    sure = certain("abcd", terms, labels)
    assert sure.groups == [1, 1, 2, 2]
    assert sum(sure.probability_best) == pytest.approx(1)
    assert sure.probability_best[0] > sure.probability_best[1] > 0.1
    assert sure.probability_best[2] == 0
    assert sure.separation is not None
    assert (sure.separation.first, sure.separation.second) == ("a", "b")
    assert sure.separation.difference == pytest.approx(0.01)
    assert sure.separation.standard_error == pytest.approx(standard_error(terms[0] - terms[1], labels), rel=0.1)
    # With this number of images, the difference would be 2.84 standard errors.
    assert sure.separation.images_needed is not None
    total = 200 + sure.separation.images_needed
    assert 2.84 * sure.separation.standard_error * math.sqrt(200 / total) == pytest.approx(0.01, rel=1e-3)
    apart = certain("ac", [terms[0], terms[2]], labels)
    assert apart.separation is None
    assert apart.groups == [1, 2]


def test_ties_are_judged_in_pairs() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(-2, 1, 400)  # difficulty of each image for every model
    labels = np.repeat(np.arange(4), 100)
    assert certain("ab", [hard, hard], labels).groups == [1, 1]
    close = [hard + rng.normal(0, 0.1, 400), hard + rng.normal(0, 0.1, 400)]
    assert certain("ab", close, labels).groups == [1, 1]
    # The difference is far below the spread over images, yet clear in the paired comparison.
    assert certain("ab", [hard + 0.05, hard + rng.normal(0, 0.1, 400)], labels).groups == [1, 2]


@given(st.integers(0, 1000), st.floats(0, 0.3))
def test_a_sure_first_place_is_no_tie(seed: int, ahead: float) -> None:
    """Probabilities and ties use the same draws, so they never contradict each other."""
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    sure = certain("abc", [rng.normal(ahead * (i == 0), 0.3, 60) for i in range(3)], labels)
    if sure.probability_best[0] >= 0.975:
        assert 1 not in sure.groups[1:]


def test_equal_models_share_the_first_place() -> None:
    terms, labels = np.random.default_rng(0).normal(0, 1, 30), np.arange(30) % 3
    sure = certain("ab", [terms, terms], labels)
    assert sure.probability_best == [0.5, 0.5]
    assert sure.groups == [1, 1]
    assert sure.separation is not None
    assert sure.separation.images_needed is None
    alone = certain("a", [terms], labels)
    assert (alone.probability_best, alone.groups, alone.separation) == ([1.0], [1], None)
