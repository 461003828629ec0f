"""Scores that fit a discriminant, a mixture, heads or a temperature, compared with independent fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog import scores
from leepfrog.errors import ArrayError
from leepfrog.scoring.folds import fold_of
from leepfrog.scoring.held_out import held_out_softmax
from leepfrog.scoring.regression import fit_softmax
from leepfrog.scoring.sample import FeatureSample, Sample
from leepfrog.scoring.scores import n_leep
from leepfrog.scoring.scores.linear_probe import PENALTIES
from numpy.typing import NDArray
from reference import scores as reference
from runtime.test_scores import made, sets
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

Floats = NDArray[np.float64]
cases = settings(max_examples=10, deadline=None)


def digits(n: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    features, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(seed).permutation(len(labels))[:n]
    return features[chosen], labels[chosen]


@cases
@given(sets, st.sampled_from([0.02, 0.3, 3.0]))
def test_sfda(data: tuple[Floats, NDArray[np.int64]], scale: float) -> None:
    """Compare with full covariances and the generalised eigenvectors described in the paper."""
    features, labels = data
    features = scale * features
    score = scores.sfda(features, labels)
    if score.diagnostics["shrinkage"] > 1e-6:  # otherwise the reference's matrices are numerically singular
        assert score.value == pytest.approx(reference.sfda(features, labels), rel=1e-6, abs=1e-9)
    assert score.value <= 0


@cases
@given(st.integers(0, 1000), st.integers(60, 200))
def test_n_leep(seed: int, n: int) -> None:
    """Compare with LEEP of the responsibilities of scikit-learn's mixture, fitted from the same start."""
    features, labels = made(seed, n, 12, 3)
    score = scores.n_leep(features, labels)
    x = PCA(0.8, svd_solver="full").fit_transform(features)
    assert score.diagnostics["n_dimensions"] == x.shape[1]
    order = np.argsort((x**2).sum(axis=1), kind="stable")
    centers = x[order][n_leep._spread_out(x[order], 15, np.random.default_rng(0))]
    nearest = ((x[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    start = n_leep._maximized(x, np.eye(15)[nearest], n_leep.FLOOR * x.var(axis=0).mean())
    mixture = GaussianMixture(
        15, covariance_type="diag", tol=n_leep.TOLERANCE, reg_covar=n_leep.FLOOR * x.var(axis=0).mean(),
        weights_init=np.exp(start.logs) / np.exp(start.logs).sum(), means_init=start.means,
        precisions_init=1 / start.variances,
    ).fit(x)  # fmt: skip
    assert score.diagnostics["converged"] == mixture.converged_
    assert score.value == pytest.approx(scores.leep(mixture.predict_proba(x), labels).value, abs=2e-3)
    assert score.value <= 0  # a mean of logarithms; published code omits them and is positive


def test_n_leep_wants_many_images_a_component() -> None:
    """With random labels the true value is -log 3; the excess decreases with the number of images."""
    rng = np.random.default_rng(0)
    excess = [scores.n_leep(rng.standard_normal((n, 6)), np.arange(n) % 3).value + np.log(3) for n in (60, 600, 6000)]
    assert excess[0] > 5 * excess[1] > 25 * excess[2] > 0


def held_out_by_scikit_learn(x: Floats, labels: NDArray[np.int64], penalty: float) -> tuple[Floats, Floats]:
    """Return, per held-out image, whether logistic regression is correct and the log-likelihood of the true class."""
    n = len(labels)
    fold, hits, logs = fold_of(labels, 5, 0), np.zeros(n), np.zeros(n)
    for k in range(5):
        test = fold == k
        head = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000).fit(x[~test], labels[~test])
        hits[test] = head.predict(x[test]) == labels[test]
        logs[test] = head.predict_log_proba(x[test])[np.arange(test.sum()), labels[test]]
    return hits, logs


@pytest.mark.parametrize("n", [80, 300])
def test_linear_probe(n: int) -> None:
    """Compare with scikit-learn's logistic regression on the same folds, for each penalty."""
    features, labels = digits(n)
    x = features - features.mean(axis=0)
    x /= np.sqrt((x**2).mean())
    expected = {penalty: held_out_by_scikit_learn(x, labels, penalty) for penalty in PENALTIES}
    for penalty, (hits, logs) in expected.items():
        exact = held_out_softmax(FeatureSample.of(labels, features), [penalty], 5, tolerance=1e-5)
        np.testing.assert_allclose(exact.terms, logs, atol=2e-3)
        assert np.mean(exact.correct != hits) <= 1 / n
    best = max(PENALTIES, key=lambda penalty: expected[penalty][1].mean())
    score = scores.linear_probe(features, labels)
    assert score.diagnostics["penalty"] == best
    # The score stops early and drops directions with little variance, which hardly changes its predictions.
    assert score.value == pytest.approx(expected[best][0].mean(), abs=2.5 / n)
    assert score.diagnostics["log_likelihood"] == pytest.approx(expected[best][1].mean(), abs=0.02)
    assert score.parts["likelihood"].value == score.diagnostics["log_likelihood"]
    with pytest.raises(ArrayError, match="folds must be at least 2"):
        scores.linear_probe(features, labels, folds=1)


def test_a_class_of_one_image_is_never_predicted() -> None:
    features, labels = digits(60)
    labels = np.where(np.arange(60) == 7, 10, labels)
    score = scores.linear_probe(features, labels)
    assert score.terms[7] == 0
    assert score.parts["likelihood"].terms[7] >= -np.log(60 * 11) - 1e-12


def test_folds_share_out_every_class() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 103)
    counts = np.array([np.bincount(labels[fold_of(labels, 5, 1) == k], minlength=4) for k in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_softmax_regression_starts_anywhere_and_ends_in_one_place() -> None:
    features, labels = digits(120)
    x = features - features.mean(axis=0)
    ends = [
        fit_softmax(x, labels, np.full(120, 1 / 120), 10, 0.5, 1e-9, start).logits(x)
        for start in (None, np.random.default_rng(0).normal(0, 0.1, (65, 10)))
    ]
    ends = [end - end.mean(axis=1, keepdims=True) for end in ends]
    np.testing.assert_allclose(*ends, atol=1e-6)


@cases
@given(st.integers(0, 1000))
def test_leep_temperature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    logits = 2 * np.eye(3)[labels] @ rng.standard_normal((3, 12)) + rng.standard_normal((90, 12))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def loo(temperature: float) -> float:
        powers = np.exp(logs / temperature)
        return scores.leep_loo(powers / powers.sum(axis=1, keepdims=True), labels).value

    score = scores.leep_loo_t(np.exp(logs), labels)
    best = minimize_scalar(lambda t: -loo(np.exp(t)), bounds=np.log([1 / 8, 8]), method="bounded")
    assert score.value == pytest.approx(-best.fun, abs=2e-3)
    assert score.value == pytest.approx(loo(score.diagnostics["temperature"]), abs=1e-9)
    assert score.value >= scores.leep_loo(np.exp(logs), labels).value
    # The fitted temperature compensates for logits that are too small by a constant factor.
    tempered = np.exp(logs / 2) / np.exp(logs / 2).sum(axis=1, keepdims=True)
    assert scores.leep_loo_t(tempered, labels).value == pytest.approx(score.value, abs=2e-3)


def test_shared_sums_are_those_of_each_score_alone() -> None:
    features, labels = digits(100)
    sample = Sample.of(labels, features=features)
    from leepfrog.scoring.registry import SCORES

    for definition in SCORES.values():
        if definition.reads == "features":
            assert definition.of(sample).value == getattr(scores, definition.name)(features, labels).value
