"""NCTI, ETran, PED and 5-shot prototypes against reference implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from leepfrog import scores
from leepfrog.draws import members_of
from leepfrog.errors import ArrayError
from leepfrog.scoring.registry import SCORES
from leepfrog.scoring.scores.few_shot import EPISODES
from numpy.typing import NDArray
from reference import scores as reference
from runtime.test_scores import cases, made, sets

Data = tuple[NDArray[np.float64], NDArray[np.int64]]
SHRUNK = 1e-6  # with less shrinkage, the references' matrices are numerically singular


@cases
@given(sets, st.sampled_from([0.02, 0.1, 0.3]))
def test_etran(data: Data, scale: float) -> None:
    features, labels = data[0] * scale, data[1]
    score = scores.etran(features, labels)
    if score.diagnostics["shrinkage"] > SHRUNK:
        expected = reference.etran(features, labels)
        assert {name: score.parts[name].value for name in expected} == pytest.approx(expected, rel=1e-6, abs=1e-9)
        assert score.value == pytest.approx(0.15 * expected["energy"] + 0.85 * expected["certainty"], rel=1e-6)


@cases
@given(sets, st.sampled_from([0.01, 0.05, 0.2]))
def test_ncti(data: Data, scale: float) -> None:
    features, labels = data[0] * scale, data[1]
    score = scores.ncti(features, labels)
    if score.diagnostics["shrinkage"] > SHRUNK:
        expected = reference.ncti(features, labels)
        assert {name: score.parts[name].value for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-8)
        assert score.value == pytest.approx(expected["spread"] + expected["certainty"] - expected["collapse"], rel=1e-5)


@cases
@given(sets, st.sampled_from([0.02, 0.1, 0.3]))
def test_ped(data: Data, scale: float) -> None:
    features, labels = data[0] * scale, data[1]
    score = scores.ped(features, labels)
    if score.diagnostics["shrinkage"] > SHRUNK:
        assert score.value == pytest.approx(reference.ped(features, labels), rel=1e-6, abs=1e-9)


def test_ped_pushes_classes_that_overlap_and_no_others() -> None:
    features, labels = made(0, 90, 12, 3)
    assert scores.ped(features, labels).diagnostics["n_steps"] > 0
    assert scores.ped(features + 1000 * labels[:, None], labels).diagnostics["n_steps"] == 0


@cases
@given(sets, st.integers(0, 5))
def test_few_shot(data: Data, seed: int) -> None:
    features, labels = data
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(EPISODES):
        shuffled = [rng.permutation(rows) for rows in members_of(labels)]
        drawn.append([rows[: max(1, min(5, len(rows) - 1))] for rows in shuffled])
    score = scores.few_shot(features, labels, seed=seed)
    assert score.value == pytest.approx(reference.few_shot(features, labels, drawn))


def test_few_shot_counts_lone_images_as_wrong() -> None:
    features, labels = np.eye(5)[[0, 0, 0, 1, 1, 1, 2]], [0, 0, 0, 1, 1, 1, 2]
    score = scores.few_shot(features, labels)
    assert score.diagnostics["never_held_out"] == 1
    assert score.value == pytest.approx(6 / 7)
    with pytest.raises(ArrayError, match="at least 1"):
        scores.few_shot(features, labels, shots=0)


@pytest.mark.parametrize("name", ["ncti", "etran"])
def test_parts_are_scaled_over_the_models_compared(name: str) -> None:
    """Parts are min-max scaled over the models, as in the papers; a part that is equal for all models counts as 0."""
    weights = {"ncti": {"spread": 1, "certainty": 1, "collapse": -1}, "etran": {"energy": 0.15, "certainty": 0.85}}[
        name
    ]
    labels = made(0, 60, 8, 3)[1]
    models = [getattr(scores, name)(made(seed, 60, 8, 3)[0], labels) for seed in (1, 2, 3, 4)]
    among = SCORES[name].among
    assert among is not None
    found = among(models, labels)
    for part, weight in weights.items():
        values = np.array([model.parts[part].value for model in models])
        weights[part] = weight * (values - values.min()) / np.ptp(values)
    np.testing.assert_allclose([score.value for score in found], np.sum(list(weights.values()), axis=0), atol=1e-12)
    assert all(score.terms.mean() == pytest.approx(score.value) for score in found)
    assert [score.value for score in among(models[:1] * 2, labels)] == [0, 0]
