"""Rankings of arrays, from Python and from the command line."""

from __future__ import annotations

import json
from typing import Any

import leepfrog
import numpy as np
import pytest
from baselines import conforms
from commands import Here
from leepfrog.errors import ArrayError, UsageError
from leepfrog.ranking.rank_arrays import rank_arrays
from leepfrog.ranking.result import Ranking
from numpy.typing import NDArray

LABELS = np.arange(120) % 4
WORDS = np.array(["bird", "cat", "dog", "eel"])[LABELS]


def features(signal: float, seed: int, width: int = 12) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (signal * np.eye(4)[LABELS] @ rng.normal(size=(4, width)) + rng.normal(size=(120, width))).astype(np.float32)


def probs(signal: float, seed: int) -> NDArray[np.float32]:
    logits = features(signal, seed, 6).astype(float)
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


MODELS = {
    "weak": {"features": features(0.2, 1), "probs": probs(0.2, 4)},
    "strong": {"features": features(1.5, 2)},
    "middling": {"features": features(0.6, 3, 20), "probs": probs(0.8, 5)},
}


@pytest.mark.parametrize("goal", ["head", "few-shot", "finetune"])
@pytest.mark.parametrize("labels", [LABELS, WORDS], ids=["integers", "strings"])
def test_models_in_order(goal: str, labels: NDArray[Any]) -> None:
    ranking = rank_arrays(MODELS, labels, goal=goal)
    assert [model.name for model in ranking] == ["strong", "middling", "weak"]
    assert ranking.goal == goal
    accuracies = [model.scores[ranking.ranked_by] for model in ranking]
    assert accuracies == sorted(accuracies, key=float, reverse=True)
    for model, score in zip(ranking, accuracies, strict=True):
        low, high = score.interval or (1.0, 0.0)
        assert 0 <= low < score.value < high <= 1
        assert model.expected_loss is not None
    assert ranking[0].expected_loss == min(model.expected_loss or 0.0 for model in ranking)
    assert sum(model.probability_best for model in ranking) == pytest.approx(1)
    assert {"leep", "leep_loo"} <= ranking["weak"].scores.keys()
    assert "leep" not in ranking["strong"].scores
    assert (ranking["middling"].n_features, ranking["middling"].n_source, ranking["strong"].n_source) == (20, 6, None)
    assert list(ranking.classes) == [str(name) for name in np.unique(labels)]
    conforms(ranking.as_dict())
    assert Ranking.from_dict(json.loads(json.dumps(ranking.as_dict()))).as_dict() == ranking.as_dict()


def test_any_score_may_decide() -> None:
    ranking = rank_arrays(MODELS, LABELS, by="knn", scores="logme")
    assert (ranking.ranked_by, ranking.goal, ranking[0].name) == ("knn", None, "strong")
    assert ranking[0].expected_loss is None
    assert "head_accuracy" not in ranking[0].scores
    assert ranking[0].scores["knn"].value == leepfrog.scores.knn(MODELS["strong"]["features"], LABELS).value
    with_probs = {name: {"probs": arrays["probs"]} for name, arrays in MODELS.items() if "probs" in arrays}
    assert [model.name for model in rank_arrays(with_probs, LABELS, by="leep")] == ["middling", "weak"]
    relative = rank_arrays(MODELS, LABELS, by="etran")
    assert all(-1e-9 <= model.scores["etran"].value <= 1 + 1e-9 for model in relative)


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ({}, UsageError, "models must be a mapping"),
        ({"a": np.ones((120, 2))}, UsageError, "'a' must be a name with a mapping"),
        ({"a": {"feature": features(1, 0)}}, UsageError, "a: unknown array 'feature'"),
        ({"a": {}}, UsageError, "a: has neither"),
        ({"a": {"probs": probs(1, 0)}}, UsageError, "a: has no features, required by linear_probe"),
        ({"a": {"features": features(1, 0)[:50]}}, ArrayError, "a: labels has 120 entries for 50 rows"),
        ({"a": {"features": features(1, 0) * np.nan}}, ArrayError, "a: features row 0 contains NaN"),
        ({"a": {"features": features(1, 0), "probs": features(1, 1)}}, ArrayError, "a: probs row"),
    ],
)
def test_what_cannot_be_ranked(models: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        rank_arrays(models, LABELS)


def test_unknown_goals_and_scores() -> None:
    with pytest.raises(UsageError, match="goal 'heads' is unknown"):
        rank_arrays(MODELS, LABELS, goal="heads")
    with pytest.raises(UsageError, match="score 'lep' is unknown"):
        rank_arrays(MODELS, LABELS, by="lep")
    with pytest.raises(ArrayError, match="single class"):
        rank_arrays(MODELS, np.zeros(120, int))


def saved(here: Here) -> list[str]:
    np.save(here.folder / "y.npy", LABELS)
    arguments = ["score", "--labels", "y.npy"]
    for name, arrays in MODELS.items():
        for kind, array in arrays.items():
            np.save(here.folder / f"{name}-{kind}.npy", array)
            arguments += [f"--{kind}", f"{name}={name}-{kind}.npy"]
    return arguments


def test_the_command_line_gives_the_same_table(here: Here) -> None:
    arguments = saved(here)
    done = here.call(*arguments, "--format", "json", "-o", "ranking.json")
    assert done.code == 0, done.err
    written = Ranking.load(here.folder / "ranking.json").as_dict()
    in_memory = rank_arrays(MODELS, LABELS).as_dict()
    assert written["models"] == in_memory["models"]
    table = here.call(*arguments).out
    assert table.startswith("strong: expected accuracy of a retrained linear head")
    rows = [line.split() for line in table.partition("----\n")[2].splitlines()]
    assert [cells[1] for cells in rows if cells and cells[0].rstrip("=").isdigit()] == ["strong", "middling", "weak"]
    assert "size MB" not in table
    few = here.call(*arguments, "--goal", "few-shot", "-s", "gbc").out
    assert "nearest-class-mean" in few
    assert "gbc" in few
    verified = here.call("verify", "ranking.json", ".")
    assert verified.code == 0, verified.err
    np.save(here.folder / "weak-features.npy", features(0.9, 1))
    assert here.call("verify", "ranking.json", ".").code == 1


def test_what_the_command_line_refuses(here: Here) -> None:
    arguments = saved(here)
    for more, message in (
        (("--features", "y.npy"), "some arrays are named and some are not"),
        (("--features", "weak=y.npy"), "two files for weak"),
        (("--features", "=y.npy"), "expected MODEL=FILE"),
        (("--by", "lep"), "'lep' is unknown"),
        (("--by", "leep"), "strong: has no probs, required by leep"),
    ):
        here.call(*arguments, *more).check(2, message)
    here.call("score", "--labels", "y.npy", "--features", "y.npy", "--by", "knn").check(2, "name each array")
    here.call("score", "--labels", "y.npy", "--features", "a=none.npy").check(3, "none.npy: cannot be read")


def test_arrays_in_memory_cannot_be_verified(here: Here) -> None:
    rank_arrays(MODELS, LABELS).save(here.folder / "ranking.json")
    here.call("verify", "ranking.json", ".").check(2, "the arrays were in memory")
    here.call("check", "ranking.json", ".").check(2, "a ranking of arrays; use leepfrog verify")
