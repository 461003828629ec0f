"""The head compared with scikit-learn, and the three estimators of the Fisher information with each other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import ArrayError, UsageError
from leepfrog.task2vec.choices import ESTIMATORS
from leepfrog.task2vec.cotangents import cotangents
from leepfrog.task2vec.head import TOLERANCE, Head, fit_head
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]


def blobs(n: int, d: int, n_classes: int, seed: int, spread: float = 1.0) -> tuple[Floats, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    return rng.standard_normal((n_classes, d))[labels] * spread + rng.standard_normal((n, d)), labels


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(10, 80), d=st.integers(1, 100), n_classes=st.integers(2, 6), seed=st.integers(0, 10**6),
    l2=st.sampled_from([1.0, 0.01, 1e-4]), spread=st.sampled_from([0.1, 3.0]),
)  # fmt: skip
def test_equals_scikit_learn(n: int, d: int, n_classes: int, seed: int, l2: float, spread: float) -> None:
    features, labels = blobs(n, d, n_classes, seed, spread)
    head = fit_head(features, labels, l2)
    assert head.gradient <= TOLERANCE
    centered = features - features.mean(axis=0)
    scaled = centered / np.sqrt((centered**2).mean())
    # With two classes, scikit-learn penalises a single vector w, not the two vectors +-w/2 of a softmax.
    strength = (2 if n_classes == 2 else 1) / (l2 * n)
    other = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg", tol=1e-9, max_iter=5000)
    expected = other.fit(scaled, labels).predict_proba(scaled)
    np.testing.assert_allclose(head.probs(features), expected, atol=2e-4)


def test_iris() -> None:
    features, labels = load_iris(return_X_y=True)
    head = fit_head(features, labels)
    assert (head.probs(features).argmax(axis=1) == labels).mean() > 0.94
    assert head.l2 == 10 / 150


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_scale_and_order_do_not_matter(factor: float) -> None:
    features, labels = blobs(60, 20, 4, 0)
    order = np.random.default_rng(1).permutation(60)
    expected = fit_head(features, labels).probs(features)
    scaled = fit_head(features[order] * factor + 5 * factor, labels[order] * 7 + 3)
    np.testing.assert_allclose(scaled.probs(features * factor + 5 * factor), expected, atol=1e-6)


def test_classes_weigh_the_same() -> None:
    """With uninformative features, all classes are equally probable, regardless of their numbers of images."""
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    head = fit_head(np.ones((100, 3)), labels)
    np.testing.assert_allclose(head.probs(np.ones((1, 3))), [[1 / 3] * 3], atol=1e-6)


@pytest.mark.parametrize(
    ("features", "labels", "given_", "message"),
    [
        (np.ones(3), [0, 1, 2], {}, "features has shape"),
        (np.ones((0, 3)), [], {}, "features has shape"),
        (np.full((2, 1), np.nan), [0, 1], {}, "NaN or infinity"),
        (np.ones((2, 1)), [0, 0], {}, "at least 2 classes"),
        (np.ones((2, 1)), [0], {}, "labels has 1 entries for 2 rows"),
        (np.ones((2, 1)), [0.0, 1.0], {}, "must be integers"),
        (np.ones((2, 1)), [0, 1], {"l2": 0.0}, "l2 must be positive"),
        (np.ones((2, 1)), [0, 1], {"l2": np.inf}, "l2 must be positive"),
    ],
)
def test_wrong_input(features: Floats, labels: Any, given_: dict[str, float], message: str) -> None:
    with pytest.raises(ArrayError, match=message):
        fit_head(features, np.asarray(labels, dtype=None if len(labels) else np.int64), **given_)


def squares(head: Head, features: Floats, jacobian: Floats, estimator: str, seed: int) -> Floats:
    """Return a probe's output for an estimator, [N, F], if d features / d w = jacobian [D, F] for every image."""
    rng = np.random.default_rng(seed)
    passes = cotangents(head, features, estimator, rng)
    return np.asarray(sum(w[:, None] * (c.astype(np.float64) @ jacobian) ** 2 for w, c in passes))


def a_head(d: int, n_classes: int, seed: int) -> Head:
    rng = np.random.default_rng(seed)
    return Head(rng.standard_normal((d, n_classes)), rng.standard_normal(n_classes), 1.0, 0, 0.0)


def test_exact_is_the_definition() -> None:
    """Compare with finite differences of log p(y|x) with respect to the features, summed over labels."""
    head, features = a_head(5, 3, 0), np.random.default_rng(1).standard_normal((4, 5))
    jacobian, h = np.random.default_rng(2).standard_normal((5, 6)), 1e-6
    expected = np.zeros((4, 6))
    for j, i in itertools.product(range(6), range(4)):
        step = h * jacobian[:, j]
        slopes = (np.log(head.probs([features[i] + step])) - np.log(head.probs([features[i] - step]))) / (2 * h)
        expected[i, j] = (head.probs([features[i]]) * slopes**2).sum()
    np.testing.assert_allclose(squares(head, features, jacobian, "exact", 0), expected, rtol=1e-5)


@pytest.mark.parametrize("estimator", ["signs", "sampled"])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_estimators_agree_within_their_standard_errors(estimator: str, n_classes: int) -> None:
    head, image = a_head(6, n_classes, 3), np.random.default_rng(4).standard_normal((1, 6))
    jacobian = np.random.default_rng(5).standard_normal((6, 8))
    repeated = np.repeat(image, 20_000, axis=0)
    estimates = squares(head, repeated, jacobian, estimator, 6)
    expected = squares(head, image, jacobian, "exact", 0)[0]
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - expected) <= 4.5 * error + 1e-5 * expected).all()


def test_two_classes_have_no_noise_from_signs() -> None:
    """With two classes, where the Fisher information of the logits has rank one, signs are less noisy than samples."""
    head, features = a_head(6, 2, 3), np.random.default_rng(4).standard_normal((50, 6))
    jacobian = np.random.default_rng(5).standard_normal((6, 8))
    exact = squares(head, features, jacobian, "exact", 0)
    signs = squares(head, features, jacobian, "signs", 1)
    sampled = squares(head, features, jacobian, "sampled", 1)
    assert np.isfinite(signs).all()
    assert ((signs - exact) ** 2).mean() < ((sampled - exact) ** 2).mean()


def test_estimators_by_name() -> None:
    head, features = a_head(3, 4, 0), np.zeros((2, 3))
    counts = {name: len(list(cotangents(head, features, name, np.random.default_rng(0)))) for name in ESTIMATORS}
    assert counts == {"signs": 1, "sampled": 1, "exact": 4}
    with pytest.raises(UsageError, match="estimator 'guess' is unknown; one of signs, sampled, exact"):
        list(cotangents(head, features, "guess", np.random.default_rng(0)))
