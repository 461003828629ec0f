"""Experts for tasks: MODEL2VEC's gradient, and selection methods on synthetic libraries with known answers."""

from __future__ import annotations

import json
from pathlib import Path

import models_made as made
import numpy as np
import pytest
from commands import Here
from leepfrog.errors import EmbeddingError, UsageError
from leepfrog.inference.model import ModelFile
from leepfrog.task2vec.distances import symmetric
from leepfrog.task2vec.embed import embed
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.experts import by_distance, cross_validate
from leepfrog.task2vec.library import Library
from leepfrog.task2vec.model2vec import distances_and_slopes, fit_model2vec
from leepfrog.task2vec.recommend import recommend
from leepfrog_exporter.gradient.probe import export_probe
from numpy.typing import NDArray
from photos import pieces
from PIL import Image

Floats = NDArray[np.float64]


def made_library(n_tasks: int, seed: int, spread: float = 0.5) -> tuple[Floats, Floats]:
    """Draw tasks around three centers; the model of a center has an error of 0.1 on its own tasks and 0.3 on others."""
    rng = np.random.default_rng(seed)
    centers = np.exp(2 * rng.standard_normal((3, 200)))
    kinds = np.r_[[0, 1, 2], rng.integers(0, 3, n_tasks - 3)]
    tasks = centers[kinds] * np.exp(spread * rng.standard_normal((n_tasks, 200)))
    errors = np.where(np.arange(3) == kinds[:, None], 0.1, 0.3) + 0.01 * rng.random((n_tasks, 3))
    return tasks, errors


def test_gradient_of_model2vec() -> None:
    """Compare with central differences of the cross-entropy; one task has a dead filter."""
    rng = np.random.default_rng(0)
    tasks, logs = np.exp(rng.standard_normal((5, 12))), rng.standard_normal((3, 12))
    tasks[2, 4] = 0
    targets = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1], [1, 0, 0], [0, 1, 0]], float)

    def loss(at: Floats) -> float:
        logits = -7.0 * distances_and_slopes(tasks, np.exp(at))[0]
        return float(-(targets * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))).sum())

    _, slopes = distances_and_slopes(tasks, np.exp(logs), targets, 7.0)
    for i, j in np.ndindex(3, 12):
        step = np.zeros((3, 12))
        step[i, j] = 1e-6
        assert slopes[i, j] == pytest.approx((loss(logs + step) - loss(logs - step)) / 2e-6, abs=1e-7)
    np.testing.assert_allclose(distances_and_slopes(tasks, np.exp(logs))[0], symmetric(tasks, np.exp(logs)), atol=1e-6)


def test_the_right_expert_is_found_where_tasks_say_it() -> None:
    tasks, errors = made_library(24, 0)
    found = {judged.name: judged for judged in cross_validate(tasks, errors, [200], {"LEEP": -errors})}
    assert found["distance"].hits == found["model2vec"].hits == found["LEEP"].hits == 1
    assert found["distance"].regret == found["distance"].relative_error == 0
    assert found["one for all"].hits < 0.7
    assert found["chance"].hits == pytest.approx(1 / 3)
    assert found["chance"].regret == pytest.approx((errors.mean(axis=1) - errors.min(axis=1)).mean())


def test_nothing_is_found_where_tasks_say_nothing() -> None:
    """With embeddings shuffled among the tasks, selection is not much better than chance."""
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
    with pytest.raises(EmbeddingError, match="at least one known error on every task"):
        fit_model2vec(tasks, some)
    with pytest.raises(EmbeddingError, match="at least 2 models"):
        fit_model2vec(tasks, errors[:, :1])


def test_one_task_alone() -> None:
    tasks, errors = made_library(3, 0)
    found = by_distance(tasks[:1], errors[:1], tasks, [200])
    np.testing.assert_allclose(found, np.repeat(errors[:1] - errors[:1].min(), 3, axis=0))


def task(name: str, vector: Floats, network: str = "f" * 64) -> Embedding:
    return Embedding(name, network, (EmbeddedLayer("w", "conv", len(vector)),), vector, 0.1 * vector, {"probe": "net"})


def test_advice(tmp_path: Path) -> None:
    tasks, errors = made_library(10, 0)
    library = Library(tmp_path)
    for i in range(1, 10):
        library.add(task(f"task {i}", tasks[i]), {f"model {m}": errors[i, m] for m in range(3)} if i != 5 else None)
    advice = recommend(task("new", tasks[0]), library)
    assert advice.experts[0].name == max(advice.experts, key=lambda expert: expert.probability).name == "model 0"
    assert [expert.n_tasks for expert in advice.experts] == [8, 8, 8]
    assert [near.distance for near in advice.neighbours] == sorted(near.distance for near in advice.neighbours)
    assert advice.neighbours[0].best_model in ("model 0", None)
    assert {judged.name for judged in advice.judged} == {"distance", "model2vec", "one for all", "chance"}
    assert json.loads(json.dumps(advice.as_dict()))["schema_version"] == 1
    with pytest.raises(EmbeddingError, match="different networks"):
        recommend(task("new", tasks[0], "e" * 64), library)
    with pytest.raises(UsageError, match="not a library, or empty"):
        recommend(task("new", tasks[0]), Library(tmp_path / "none"))


def test_advice_without_known_errors(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.add(task("only", np.ones(4)))
    advice = recommend(task("new", np.arange(1.0, 5)), library)
    assert (advice.experts, advice.judged, advice.neighbours[0].best_model) == ((), (), None)


def test_the_command_line(home: Path, here: Here) -> None:
    """From images to a recommendation, with the probe that the library was embedded with."""
    (home / "models").mkdir(parents=True)
    path = home / "models" / "made.onnx"
    path.write_bytes(made.scoring().SerializeToString())
    export_probe(ModelFile.read(path))
    for subject in ("cat", "china"):
        (here.folder / "photos" / subject).mkdir(parents=True)
        for i, piece in enumerate(pieces(subject, 4)):
            Image.fromarray(piece).save(here.folder / "photos" / subject / f"{i}.png")

    library = Library(here.folder / "L")
    first = embed(here.folder / "photos", "made", name="photos")
    library.add(first)
    bare = here.call("experts", "photos", "--library", "L")
    bare.check(0, "no recommendation: the library has the errors of fewer than two models")
    library.add(first, {"net": 0.25, "other": 0.5})
    done = here.call("experts", "photos", "-l", "L")
    done.check(0)
    assert [line.split()[:3] for line in done.out.splitlines() if line.strip().startswith(("1", "2"))] == [
        ["1", "net", "0.00"],
        ["2", "other", "25.00"],
    ]
    first.save(here.folder / "t.npz")
    assert here.call("experts", "t.npz", "-l", "L", "--format", "csv").out.startswith("rank,model,")
    path.with_name("made.fisher.onnx").unlink()
    refused = here.call("experts", "photos", "-l", "L")
    refused.check(2, "create it with leepfrog export made --probe")
    assert refused.err.count("\n") == 1
