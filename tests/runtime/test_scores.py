"""Scores: independent reference implementations, golden values, invariances and known bugs of published code."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from commands import Here
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog import scores
from leepfrog.errors import ArrayError
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.scores.gbc import FLOOR
from leepfrog.scoring.scores.ridge import STRENGTHS
from numpy.typing import NDArray
from reference import scores as reference
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

Floats = NDArray[np.float64]
FEATURE_SCORES = [name for name, score in SCORES.items() if score.reads == "features"]
PROB_SCORES = [name for name, score in SCORES.items() if score.reads == "probs"]
iris = load_iris(return_X_y=True)
cases = settings(max_examples=15, deadline=None)


def made(seed: int, n: int, width: int, n_classes: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return features and labels of overlapping classes with at least two rows each."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(n_classes), np.arange(n_classes), rng.integers(0, n_classes, n - 2 * n_classes)]
    features = rng.standard_normal((n, width)) + 0.7 * rng.standard_normal((n_classes, width))[labels]
    return features * np.exp(0.5 * rng.standard_normal(width)), labels


sets = st.builds(
    made, st.integers(0, 10_000), st.integers(12, 60), st.sampled_from([3, 10, 40, 100]), st.integers(2, 5)
)


def value(name: str, features: Floats, labels: object) -> float:
    return float(getattr(scores, name)(features, labels).value)


def test_golden_values_on_iris() -> None:
    features, labels = iris
    assert value("logme", features, labels) == pytest.approx(-0.16006026, abs=1e-7)
    assert value("h_score", features, labels) == pytest.approx(1.17784248, abs=5e-8)
    accuracies = [scores.knn(features, labels, k).value for k in (1, 3, 5, 13)]
    assert accuracies == pytest.approx([0.96, 0.96, 29 / 30, 29 / 30])


@pytest.mark.full
@cases
@given(sets)
def test_logme_is_the_maximum_of_the_evidence(data: tuple[Floats, NDArray[np.int64]]) -> None:
    """A general-purpose optimizer maximizes the marginal density of the targets over both precisions."""
    features, labels = data
    best = []
    for label in np.unique(labels):
        target = (labels == label).astype(float)
        minima = [
            minimize(
                lambda logs, y=target: -reference.log_evidence(features, y, *np.exp(np.clip(logs, -20, 20))), start,
                method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 2000},
            ).fun
            for start in ([0, 0], [0, 3], [4, 1], [8, 2])
        ]  # fmt: skip
        best.append(-min(minima))
    score = scores.logme(features, labels)
    if not score.diagnostics["n_not_converged"]:
        assert score.value == pytest.approx(float(np.mean(best)), abs=2e-5)


def test_logme_does_not_follow_the_feature_width() -> None:
    """The published code omits (D - k) / 2 log a for rank k < D: 92.2 instead of about 0 for N = 100, D = 2048."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100)
    values = [value("logme", rng.standard_normal((100, width)), labels) for width in (50, 512, 2048)]
    assert np.ptp(values) < 0.1


@cases
@given(sets)
def test_h_score(data: tuple[Floats, NDArray[np.int64]]) -> None:
    features, labels = data
    _, shrinkage = ledoit_wolf(features)
    score = scores.h_score(features, labels)
    assert score.diagnostics["shrinkage"] == pytest.approx(shrinkage, rel=1e-8)
    assert score.value == pytest.approx(reference.h_score(features, labels, shrinkage), rel=1e-6)


@cases
@given(sets, st.sampled_from(["spherical", "diagonal"]))
def test_gbc(data: tuple[Floats, NDArray[np.int64]], covariance: str) -> None:
    features, labels = data
    z = reference.reduced(features, min(64, len(features) - 1))
    floor = FLOOR * float((z**2).mean())
    expected = reference.gbc(z, labels, covariance == "diagonal", floor)
    assert scores.gbc(features, labels, covariance).value == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_gbc_of_equal_and_of_separate_classes() -> None:
    features = np.tile(np.random.default_rng(0).standard_normal((20, 5)), (3, 1))
    labels = np.repeat([0, 1, 2], 20)
    assert value("gbc", features, labels) == pytest.approx(-6)
    assert value("gbc", features + 1000 * labels[:, None], labels) == pytest.approx(0, abs=1e-6)


@cases
@given(sets)
def test_transrate(data: tuple[Floats, NDArray[np.int64]]) -> None:
    features, labels = data
    assert value("transrate", features, labels) == pytest.approx(
        reference.transrate(features, labels, 1e-4), rel=1e-5, abs=1e-5
    )


@cases
@given(sets)
def test_parc(data: tuple[Floats, NDArray[np.int64]]) -> None:
    features, labels = data
    n_components = min(32, len(features) - 1, features.shape[1])
    z = PCA(n_components, svd_solver="full").fit_transform(features)
    assert value("parc", features, labels) == pytest.approx(reference.parc(z, labels), abs=1e-4)


@pytest.mark.full
@cases
@given(sets, st.sampled_from([1, 2, 3, 5]))
def test_knn(data: tuple[Floats, NDArray[np.int64]], k: int) -> None:
    features, labels = data
    expected = cross_val_score(KNeighborsClassifier(k, algorithm="brute"), features, labels, cv=LeaveOneOut()).mean()
    assert scores.knn(features, labels, k).value == pytest.approx(expected)


def test_knn_leaves_an_image_out_by_its_place() -> None:
    """Each image's nearest neighbor is its copy, which has the other label, so every prediction is wrong."""
    features = np.repeat(np.random.default_rng(0).standard_normal((10, 4)), 2, axis=0)
    assert value("knn", features, np.tile([0, 1], 10)) == 0


@cases
@given(sets)
def test_ridge(data: tuple[Floats, NDArray[np.int64]]) -> None:
    """The reference fits one head per image, on all other images."""
    features, labels = data
    score = scores.ridge(features, labels)
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    eigenvalues = np.linalg.svd(x, compute_uv=False)[: min(len(x) - 1, x.shape[1])] ** 2
    likelihoods = []
    for strength in STRENGTHS:
        predictions = reference.ridge_predictions(features, labels, strength * eigenvalues.mean())
        likelihoods.append(reference.best_log_likelihood(predictions, labels))
        if strength == score.diagnostics["strength"]:
            assert score.diagnostics["accuracy"] == np.mean(predictions.argmax(axis=1) == labels)
    assert score.value == pytest.approx(max(likelihoods), abs=1e-6)


def test_ridge_of_what_tells_nothing() -> None:
    labels = np.repeat([0, 1, 2, 3], 5)
    assert scores.ridge(np.ones((20, 6)), labels).diagnostics["n_constant"] == 6
    assert value("ridge", np.ones((20, 6)), labels) == pytest.approx(-math.log(4), abs=1e-3)


@cases
@given(st.integers(0, 1000), st.integers(2, 40), st.integers(2, 6))
def test_nce(seed: int, n: int, n_source: int) -> None:
    rng = np.random.default_rng(seed)
    probs, labels = rng.dirichlet(np.ones(n_source), n), np.r_[0, 1, rng.integers(0, 3, n - 2)]
    assert value("nce", probs, labels) == pytest.approx(reference.nce(probs, list(labels)), abs=1e-12)


@cases
@given(sets, st.integers(0, 1000), st.sampled_from(FEATURE_SCORES))
def test_invariances(data: tuple[Floats, NDArray[np.int64]], seed: int, name: str) -> None:
    """Invariance to class names, image order, feature rotation and scale, where the definition implies it."""
    features, labels = data
    rng = np.random.default_rng(seed)
    plain = value(name, features, labels)
    near = pytest.approx(plain, rel=1e-5, abs=1e-5)
    order = rng.permutation(len(labels))
    renamed = rng.permutation(labels.max() + 1) + 7
    if name not in ("linear_probe", "few_shot"):  # these draw random folds and shots
        assert value(name, features[order], labels[order]) == near
        assert value(name, features, renamed[labels]) == near
    if name not in ("ridge", "ped", "etran"):  # these standardize or sum individual features
        turn = np.linalg.qr(rng.standard_normal((features.shape[1],) * 2))[0]
        if name != "parc":  # component signs depend on the axes
            assert value(name, features @ turn, labels) == near
    if name not in ("transrate", "sfda", "ped", "ncti", "etran"):  # these have absolute constants
        assert value(name, features * 1e-3, labels) == near
        assert value(name, features.astype(np.float32) * np.float32(2**60), labels) == pytest.approx(
            plain, rel=1e-3, abs=1e-3
        )


@cases
@given(sets, st.integers(0, 1000), st.sampled_from(PROB_SCORES))
def test_invariances_of_predictions(data: tuple[Floats, NDArray[np.int64]], seed: int, name: str) -> None:
    """Invariance to class names, image order and the order of source classes."""
    features, labels = data
    probs = np.exp(features) / np.exp(features).sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    near = pytest.approx(value(name, probs, labels), rel=1e-6, abs=1e-9)
    order, sources = rng.permutation(len(labels)), rng.permutation(probs.shape[1])
    assert value(name, probs[order], labels[order]) == near
    assert value(name, probs[:, sources], labels) == near
    assert value(name, probs, (rng.permutation(labels.max() + 1) + 7)[labels]) == near


@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_arrays_are_left_alone_and_bad_ones_refused(name: str) -> None:
    score = getattr(scores, name)
    features, labels = made(0, 20, 5, 3)
    before = features.copy()
    score(features, labels)
    np.testing.assert_array_equal(features, before)
    for wrong, message in (
        (np.where(np.arange(5) == 2, np.nan, features), "NaN or infinity"),
        (features[:, 0], r"\[N, D\]"),
        (features[:0], "at least one row"),
        (features.astype(object), "dtype"),
        (features[:10], "20 entries for 10"),
    ):
        with pytest.raises(ArrayError, match=message):
            score(wrong, labels)
    with pytest.raises(ArrayError, match="single class"):
        score(features, np.zeros(20, int))


@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_thin_and_degenerate_data_give_finite_scores(name: str) -> None:
    rng = np.random.default_rng(0)
    for features, labels in (
        (rng.standard_normal((2, 8)), [0, 1]),
        (np.ones((6, 4)), [0, 1, 0, 1, 0, 1]),
        (np.eye(6), [0, 1, 2, 3, 4, 5]),
        (np.repeat(rng.standard_normal((3, 30)), 2, axis=0), [0, 0, 1, 1, 2, 2]),
        (np.zeros((5, 1)), [0, 0, 1, 1, 1]),
    ):
        assert math.isfinite(value(name, features, labels)), (features.shape, labels)


def test_every_score_is_public() -> None:
    assert {*scores.__all__} == {"Score", *SCORES} == {*dir(scores)}
    for name in SCORES:
        assert getattr(scores, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'lep'"):
        _ = scores.lep


def test_the_command_line(here: Here) -> None:
    run = functools.partial(here.call, "score", "--labels", "y.npy")
    features, labels = made(0, 30, 6, 3)
    probs = np.exp(features) / np.exp(features).sum(axis=1, keepdims=True)
    for name, array in (("x", features), ("y", labels), ("p", probs)):
        np.save(here.folder / f"{name}.npy", array)
    results = run("--features", "x.npy", "--probs", "p.npy", "--format", "json").json["scores"]
    expected = {name: value(name, probs if name in PROB_SCORES else features, labels) for name in results}
    assert {name: score["value"] for name, score in results.items()} == expected
    assert set(results) == {*FEATURE_SCORES, *PROB_SCORES}
    some = run("--features", "x.npy", "-s", "logme,knn", "--format", "csv").out.splitlines()
    assert [line.split(",")[0] for line in some] == ["score", "logme", "knn"]
    for arguments, code, message in (
        ((), 2, "--probs, --features or both"),
        (("--probs", "p.npy", "-s", "ridge"), 2, "ridge needs --features"),
        (("--probs", "p.npy", "-s", "lep"), 2, "'lep' is unknown"),
        (("--features", "y.npy"), 3, r"[N, D]"),
        (("--features", "x.npy", "--probs", "y.npy"), 3, "probs"),
    ):
        done = run(*arguments)
        done.check(code, message)
        assert done.err.count("\n") == 1
    np.save(here.folder / "p.npy", probs[:20])
    assert "the same images" in run("--features", "x.npy", "--probs", "p.npy").err
