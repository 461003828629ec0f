"""Distances between embeddings against their written-out definitions, and embedding files."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import EmbeddingError, UsageError
from leepfrog.task2vec.choices import DISTANCES
from leepfrog.task2vec.distances import ALPHA, PRIOR, distances, prior_of, symmetric
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LAYERS = (EmbeddedLayer("first", "conv", 3), EmbeddedLayer("second", "linear", 5))


def embedding(vector: Floats, name: str = "task", network: str = "f" * 64) -> Embedding:
    return Embedding(
        name, network, LAYERS, np.asarray(vector, float), 0.1 * np.asarray(vector, float), {"probe": "net"}
    )


def some(n: int, seed: int, dead: float = 0.0) -> list[Embedding]:
    rng = np.random.default_rng(seed)
    rows = np.exp(2 * rng.standard_normal((n, 8))) * (rng.random((n, 8)) >= dead)
    rows[:, 0] += 0.1
    return [embedding(row, f"task {i}") for i, row in enumerate(rows)]


def slow_symmetric(h0: Floats, h1: Floats) -> float:
    a = [x / (x + y) for x, y in zip(h0, h1, strict=True) if x + y > 0]
    b = [y / (x + y) for x, y in zip(h0, h1, strict=True) if x + y > 0]
    mixed = sum(x * y for x, y in zip(a, b, strict=True))
    return 1 - mixed / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def slow_prior(tasks: list[Embedding]) -> Floats:
    prior, at = [], 0
    for layer in LAYERS:
        level = np.mean([task.vector[at : at + layer.n_filters] for task in tasks])
        prior += [PRIOR * level] * layer.n_filters
        at += layer.n_filters
    return np.array(prior)


def slow(kind: str, tasks: list[Embedding], i: int, j: int) -> float:
    prior = slow_prior(tasks)
    h0, h1 = tasks[i].vector, tasks[j].vector
    if kind == "symmetric":
        return slow_symmetric(h0, h1)
    if kind == "asymmetric":
        return slow_symmetric(h0, h1) - ALPHA * slow_symmetric(h0, prior)
    if kind == "normalized_cosine":
        a, b = prior / (prior + h0), prior / (prior + h1)
        return float(1 - (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))

    def kl(v: float, w: float) -> float:
        return 0.5 * (v / w - 1 + math.log(w) - math.log(v))

    total = 0.0
    for v, w in zip(1 / (h0 + prior), 1 / (h1 + prior), strict=True):
        if kind == "kl":
            total += max(kl(v, w), kl(w, v))
        elif kind == "asymmetric_kl":
            total += kl(v, w)
        else:
            total += 0.5 * (kl(v, (v + w) / 2) + kl(w, (v + w) / 2))
    return total


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), dead=st.sampled_from([0.0, 0.4]), kind=st.sampled_from(DISTANCES))
def test_equals_the_definition(seed: int, dead: float, kind: str) -> None:
    tasks = some(3, seed, dead)
    expected = [[slow(kind, tasks, i, j) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(distances(tasks, kind), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-18, 1e-6, 1e9, 1e20]), kind=st.sampled_from(DISTANCES))
def test_the_unit_does_not_matter(seed: int, factor: float, kind: str) -> None:
    """Unlike here, the reference's absolute epsilon makes small embeddings look alike."""
    tasks = some(3, seed, 0.3)
    scaled = [embedding(task.vector * factor, task.name) for task in tasks]
    np.testing.assert_allclose(distances(scaled, kind), distances(tasks, kind), rtol=1e-5, atol=1e-6)


def test_dead_filters_say_nothing() -> None:
    """Filters that are zero in both tasks do not affect the distance."""
    with_dead = [np.array([1.0, 2, 3, 0, 0, 0, 0, 0]), np.array([2.0, 1, 3, 0, 0, 0, 0, 0])]
    alive = symmetric([row[:3] for row in with_dead])
    np.testing.assert_allclose(symmetric(with_dead), alive, atol=1e-12)
    assert np.isfinite([distances([embedding(row) for row in with_dead], kind) for kind in DISTANCES]).all()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (33, 33), (70, 40)])
def test_blocks(n: int, m: int) -> None:
    """Cover several blocks of tasks and filters, several threads, and rows against other rows and themselves."""
    rng = np.random.default_rng(0)
    rows, columns = np.exp(rng.standard_normal((n, 2100))), np.exp(rng.standard_normal((m, 2100)))
    found = symmetric(rows, columns, threads=3)
    for i, j in [(0, 0), (n - 1, m - 1), (n // 2, m // 3)]:
        assert found[i, j] == pytest.approx(slow_symmetric(rows[i], columns[j]), abs=1e-5)
    itself = symmetric(rows, threads=3)
    np.testing.assert_allclose(itself, symmetric(rows, rows, threads=1), atol=1e-6)
    assert (itself == itself.T).all()
    assert not itself.diagonal().any()


def test_a_layer_that_is_dead_everywhere_has_a_prior() -> None:
    assert (prior_of([[0.0, 0, 0, 1, 1, 1, 1, 1]], [3, 5]) > 0).all()


def test_what_cannot_be_compared() -> None:
    a, b = some(2, 0)
    other = embedding(b.vector, "other", network="e" * 64)
    with pytest.raises(EmbeddingError, match=r"task 0 and other were embedded by different networks \(net ffffffff"):
        distances([a, other])
    with pytest.raises(EmbeddingError, match="different layers of one network"):
        distances([a, b.last(1)])
    assert distances([a.last(1), b.last(1)]).shape == (2, 2)
    with pytest.raises(UsageError, match="distance 'near' is unknown"):
        distances([a, b], "near")


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    task = some(1, 0)[0]
    path, again = tmp_path / "a.npz", tmp_path / "b.npz"
    task.save(path)
    copy = Embedding.load(path)
    assert (copy.name, copy.network, copy.layers, copy.made) == (
        task.name,
        task.network,
        LAYERS,
        {"probe": "net"},
    )
    assert (copy.vector == task.vector).all()
    assert (copy.standard_errors == task.standard_errors).all()
    copy.save(again)
    assert path.read_bytes() == again.read_bytes()
    assert copy.last(1).vector.tolist() == task.vector[3:].tolist()


def changed(path: Path, **arrays: NDArray[np.generic] | None) -> None:
    """Write an embedding file with some arrays replaced, or removed where None."""
    some(1, 0)[0].save(path)
    with np.load(path) as whole:
        entries = dict(whole) | arrays
    np.savez(path, **{name: array for name, array in entries.items() if array is not None}, allow_pickle=True)


def header(**values: object) -> NDArray[np.str_]:
    whole = {"format_version": 1, "name": "a", "network": "b", "layers": [["l", "conv", 8]], "made": {}}
    return np.array(json.dumps({**whole, **values}))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vector": np.full(8, np.nan)}, "not finite"),
        ({"vector": -np.ones(8)}, "negative"),
        ({"vector": np.zeros(8)}, "all values are 0"),
        ({"vector": np.ones(7)}, "the layer table has 8 filters"),
        ({"standard_errors": np.ones(3)}, "the layer table has 8 filters"),
        ({"vector": None}, "is not a task embedding"),
        ({"vector": np.array([{}] * 8, object)}, "is not a task embedding"),
        ({"vector": np.array(["x"] * 8)}, "vector has dtype <U1; it must be real numbers"),
        ({"header": np.array("{")}, "is not a task embedding"),
        ({"header": header(format_version=2)}, "has format 2, this leepfrog reads 1"),
        ({"header": header(layers=[["l", "conv", 0], ["m", "conv", 8]])}, "filters is 0, not a whole number"),
        ({"header": header(layers=[[1]])}, "is not a task embedding"),
        ({"header": header(made=[])}, "the entry 'made' is missing or invalid"),
        ({"header": header(layers=[])}, "number of layers is 0"),
    ],
)
def test_a_strangers_file(arrays: dict[str, NDArray[np.generic] | None], message: str, tmp_path: Path) -> None:
    path = tmp_path / "task.npz"
    changed(path, **arrays)
    with pytest.raises(EmbeddingError, match=message) as caught:
        Embedding.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "task.npz"
    with pytest.raises(EmbeddingError, match="No such file"):
        Embedding.load(path)
    for content in (b"", b"PK\x03\x04 and so on", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(EmbeddingError, match="is not a task embedding"):
            Embedding.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vector.npy", bytes(1 << 28))
    with pytest.raises(EmbeddingError, match="unpacks to more than 128 MiB"):
        Embedding.load(path)


def test_every_cut_of_a_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "task.npz"
    some(1, 0)[0].save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(EmbeddingError):
            Embedding.load(path)
