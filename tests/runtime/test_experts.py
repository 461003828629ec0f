"""Experts for tasks: MODEL2VEC's gradient, and ways of choosing on made libraries where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from leepfrog.errors import EmbeddingError
from leepfrog.task2vec.distances import symmetric
from leepfrog.task2vec.experts import by_distance, cross_validate
from leepfrog.task2vec.model2vec import _distances, fit_model2vec
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def made_library(n_tasks: int, seed: int, spread: float = 0.5) -> tuple[Floats, Floats]:
    """Tasks around three centres; each centre's model errs a tenth on its own tasks, the others more."""
    rng = np.random.default_rng(seed)
    centres = np.exp(2 * rng.standard_normal((3, 200)))
    kinds = np.r_[[0, 1, 2], rng.integers(0, 3, n_tasks - 3)]
    tasks = centres[kinds] * np.exp(spread * rng.standard_normal((n_tasks, 200)))
    errors = np.where(np.arange(3) == kinds[:, None], 0.1, 0.3) + 0.01 * rng.random((n_tasks, 3))
    return tasks, errors


def test_gradient_of_model2vec() -> None:
    """Against central differences of the cross-entropy, with a dead filter among them."""
    rng = np.random.default_rng(0)
    tasks, logs = np.exp(rng.standard_normal((5, 12))), rng.standard_normal((3, 12))
    tasks[2, 4] = 0
    targets = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1], [1, 0, 0], [0, 1, 0]], float)

    def loss(at: Floats) -> float:
        logits = -7.0 * _distances(tasks, np.exp(at))[0]
        return float(-(targets * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))).sum())

    _, slopes = _distances(tasks, np.exp(logs), targets, 7.0)
    for i, j in np.ndindex(3, 12):
        step = np.zeros((3, 12))
        step[i, j] = 1e-6
        assert slopes[i, j] == pytest.approx((loss(logs + step) - loss(logs - step)) / 2e-6, abs=1e-7)
    np.testing.assert_allclose(_distances(tasks, np.exp(logs))[0], symmetric(tasks, np.exp(logs)), atol=1e-6)


def test_the_right_expert_is_found_where_tasks_say_it() -> None:
    tasks, errors = made_library(24, 0)
    found = {judged.name: judged for judged in cross_validate(tasks, errors, [200], leep=-errors)}
    assert found["distance"].hits == found["model2vec"].hits == found["LEEP"].hits == 1
    assert found["distance"].regret == found["distance"].relative_error == 0
    assert found["one for all"].hits < 0.7
    assert found["chance"].hits == pytest.approx(1 / 3)
    assert found["chance"].regret == pytest.approx((errors.mean(axis=1) - errors.min(axis=1)).mean())


def test_nothing_is_found_where_tasks_say_nothing() -> None:
    """Embeddings shuffled among the tasks: no better than chance beyond chance."""
    tasks, errors = made_library(60, 1)
    shuffled = tasks[np.random.default_rng(2).permutation(60)]
    found = {judged.name: judged for judged in cross_validate(shuffled, errors, [200])}
    assert found["distance"].hits < 0.6
    assert "LEEP" not in found


def test_tasks_may_count_several_models_as_best() -> None:
    tasks, errors = made_library(12, 0)
    errors[:, 2] = errors[:, 1]
    fitted = fit_model2vec(tasks, errors)
    np.testing.assert_allclose(fitted.probs(tasks)[:, 1], fitted.probs(tasks)[:, 2], rtol=1e-6)


def test_unknown_errors() -> None:
    tasks, errors = made_library(12, 0)
    some = errors.copy()
    some[::2, 1] = np.nan
    expected = by_distance(tasks, some, tasks[:1], [200])
    assert np.isfinite(expected).all()
    some[:, 1] = np.nan
    assert np.isnan(by_distance(tasks, some, tasks[:1], [200])).tolist() == [[False, True, False]]
    with pytest.raises(EmbeddingError, match="every model's error on every task"):
        cross_validate(tasks, some, [200])
    some[3] = np.nan
    with pytest.raises(EmbeddingError, match="at least one on every task"):
        fit_model2vec(tasks, some)
    with pytest.raises(EmbeddingError, match="at least 2 models"):
        fit_model2vec(tasks, errors[:, :1])


def test_one_task_alone() -> None:
    tasks, errors = made_library(3, 0)
    found = by_distance(tasks[:1], errors[:1], tasks, [200])
    np.testing.assert_allclose(found, np.repeat(errors[:1] - errors[:1].min(), 3, axis=0))
