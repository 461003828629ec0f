"""The combined score: its formula and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from leepfrog.ranking.baselines import BASELINES, ModelFacts
from leepfrog.ranking.combined import PARTS, combined
from leepfrog.scoring.score import Score, mean_of
from leepfrog.scoring.subsample import drawn_in_proportion, spread_terms
from leepfrog.scoring.uncertainty import standard_error

labels = np.repeat(np.arange(5), 30)


def model(seed: int, level: float) -> dict[str, Score]:
    rng = np.random.default_rng(seed)
    return {part: mean_of(part, level + rng.normal(0, k + 1, 150), labels, 9, {}) for k, part in enumerate(PARTS)}


def test_the_formula() -> None:
    models = [model(seed, 0.3 * seed) for seed in range(4)]
    expected = np.zeros(4)
    for part in PARTS:
        values = np.array([scores[part].value for scores in models])
        mean = np.mean([scores[part].terms for scores in models], axis=0)
        noise = np.sqrt(np.mean([standard_error(scores[part].terms - mean, labels) ** 2 for scores in models]))
        expected += (values - values.mean()) / noise / 3
    result = combined(models, labels)
    assert [score.value for score in result] == pytest.approx(list(expected))
    for score in result:
        assert score.terms.mean() == pytest.approx(score.value)
        assert score.name == "combined"


def test_a_part_s_scale_does_not_matter_and_a_hopeless_model_changes_no_order() -> None:
    models = [model(seed, 0.1 * seed) for seed in range(5)]
    scaled = [
        {name: mean_of(name, (1000.0 if name == "knn" else 1.0) * s.terms, labels, 9, {}) for name, s in scores.items()}
        for scores in models
    ]
    plain = [score.value for score in combined(models, labels)]
    assert [score.value for score in combined(scaled, labels)] == pytest.approx(plain)
    hopeless = [score.value for score in combined([*models, model(9, -50)], labels)]
    assert np.argsort(hopeless[:5]).tolist() == np.argsort(plain).tolist()


def test_models_that_are_alike_and_a_model_alone() -> None:
    assert [score.value for score in combined([model(0, 1), model(0, 1)], labels)] == [0, 0]
    assert [score.value for score in combined([model(0, 1)], labels)] == [0]


def test_what_is_drawn_has_every_class_and_the_right_error() -> None:
    rng = np.random.default_rng(0)
    many = rng.permutation(np.repeat(np.arange(3), [1, 500, 4500]))
    drawn = drawn_in_proportion(many, 1000)
    assert np.bincount(many[drawn]).tolist() == [1, 100, 900]
    assert (np.diff(drawn) > 0).all()
    # Differences between classes add no sampling error when every class is drawn in proportion.
    part = mean_of("made", rng.normal(5 * many[drawn], 1), many[drawn], 2, {})
    whole = spread_terms(part, drawn, many)
    assert whole.terms.mean() == pytest.approx(part.value)
    assert standard_error(whole.terms, many) == pytest.approx(part.standard_error, rel=0.01)
    assert drawn_in_proportion(many, 5001).tolist() == list(range(5001))


def test_baselines() -> None:
    big, small, insects = ModelFacts(1000, 6, 77.6), ModelFacts(1001, 3, None), ModelFacts(1021, 9, None)
    static = [BASELINES["static"](facts) for facts in (big, small, insects)]
    assert static[0] > static[1] > static[2]
    assert [BASELINES["parameters"](facts) for facts in (big, insects)] == [6, 9]
    assert [BASELINES["top1"](facts) for facts in (big, small)] == [77.6, None]
