"""Rejection of arrays that NumPy would convert silently: complex, object, masked (fault 36)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import leepfrog
import numpy as np
import pytest
from leepfrog import errors, scores
from leepfrog.task2vec.distances import symmetric
from leepfrog.task2vec.embedding import EmbeddedLayer, Embedding
from leepfrog.task2vec.library import Library

RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.ones(4), 24).astype(np.float32)
LABELS = np.arange(24) % 3
FEATURES = RNG.normal(size=(24, 5)) + LABELS[:, None]
NAMES = np.array(["cat", "dog", "eel"])[LABELS]


def embedding(values: Any = (1.0, 2.0), spread: Any = (0.5, np.nan)) -> Embedding:
    layers = (EmbeddedLayer("conv", "conv", 2),)
    return Embedding("task", "0" * 64, layers, np.asanyarray(values), np.asanyarray(spread))


def str_of(value: Any) -> str:
    return f"{type(value).__name__}-{getattr(value, 'dtype', '')}"[:30]


MASKED = np.ma.masked_array(FEATURES, FEATURES > 2)
HIDDEN_LABELS = np.ma.masked_array(LABELS, LABELS > 1)
RECORDS = np.zeros(24, [("a", "f4"), ("b", "f4")])


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (FEATURES + 0j, LABELS),
        (FEATURES > 0, LABELS),
        (FEATURES.astype(object), LABELS),
        (FEATURES.astype(np.longdouble), LABELS),
        (FEATURES.astype(str), LABELS),
        (RECORDS, LABELS),
        (MASKED, LABELS),
        ([[2**70, 1]] * 24, LABELS),
        ([[1.0], [1.0, 2.0]] * 12, LABELS),
        (FEATURES, HIDDEN_LABELS),
        (FEATURES, LABELS + 0j),
        (FEATURES, LABELS.astype(object)),
        (FEATURES, [2**70, *range(23)]),
        (FEATURES, [[0], [1, 2]] * 12),
        (FEATURES, NAMES.astype("S")),
    ],
    ids=str_of,
)
def test_fault_36_arrays_that_would_be_converted_silently_are_refused(features: Any, labels: Any) -> None:
    for function in (scores.ridge, scores.knn):
        with pytest.raises(errors.ArrayError, match=r"^(features|labels) "):
            function(features, labels)


def test_fault_36_probs_that_are_masked_or_ragged_are_refused() -> None:
    for probs in (np.ma.masked_array(PROBS, PROBS > 0.5), [[0.5, 0.5], [1.0]] * 12, PROBS + 0j):
        with pytest.raises(errors.ArrayError, match=r"^probs "):
            leepfrog.leep(probs, LABELS)
    unmasked = np.ma.masked_array(PROBS, np.zeros_like(PROBS, bool))
    assert leepfrog.leep(unmasked, LABELS) == leepfrog.leep(PROBS, LABELS)


BAD_VECTORS = [
    np.array([1 + 5j, 2]),
    np.array([True, True]),
    np.array([1.0, 2.0], object),
    np.array([1, 2], np.longdouble),
    np.ma.masked_array([1.0, 2.0], [True, False]),
    np.array(["1", "2"]),
    np.zeros(2, [("a", "f8")]),
]


@pytest.mark.parametrize("bad", BAD_VECTORS, ids=str_of)
def test_fault_36_embeddings_hold_real_numbers(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.EmbeddingError, match=r"^vector has "):
        embedding(bad)
    with pytest.raises(errors.EmbeddingError, match=r"^standard_errors has "):
        embedding(spread=bad)
    with pytest.raises(errors.ArrayError, match=r"^rows has "):
        symmetric(np.ma.stack([bad, bad]) if isinstance(bad, np.ma.MaskedArray) else np.stack([bad, bad]))


def test_fault_36_complex_embeddings_in_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "task.npz"
    embedding(spread=(0.5, 0.5)).save(path)
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{**content, "vector": content["vector"] + 3j})
    with pytest.raises(errors.EmbeddingError, match=r"task\.npz: vector has dtype complex128") as caught:
        Embedding.load(path)
    assert "\n" not in str(caught.value)
    for integers in (np.array([3, 4]), np.array([3, 4], np.uint8), np.array([3, 4], np.float16)):
        assert embedding(integers).vector.dtype == np.float64


@pytest.mark.parametrize("error", [True, 0.5j, "0.5", None, np.nan, np.complex64(0.5)])
def test_fault_36_errors_of_a_library_are_fractions(error: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.EmbeddingError, match="not a fraction from 0 to 1"):
        Library(tmp_path / "library").add(embedding(), {"model": error})
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize("labels", [[0.0, 1.0], [0, 2], [-1, 0], [0], [True, False], [0j, 1j], ["a", "b"]])
def test_fault_36_labels_of_an_image_set_index_its_classes(labels: Any) -> None:
    pixels = np.zeros((2, 8, 8), np.uint8)
    good = leepfrog.ImageSet.from_arrays(pixels, ["a", "b"])
    with pytest.raises(errors.DataSetError, match="must be 2 integers from 0 to 1"):
        leepfrog.ImageSet("set", good.classes, good.images, labels)
    with pytest.raises(errors.DataSetError, match="masked entries"):
        leepfrog.ImageSet.from_arrays(np.ma.masked_array(pixels, pixels == 0), ["a", "b"])
