"""Subtasks of an image set: contents, and equal tasks for equal seeds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leepfrog.errors import DataSetError, UsageError
from leepfrog.images.dataset import ImageSet
from photos import loaded
from subtasks import class_pairs, class_subset, disjoint_samples, random_subtasks


def numbered(counts: list[int]) -> ImageSet:
    """Return a set of distinct images with classes a, b, c, ... of the given sizes."""
    pixels = np.arange(sum(counts), dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    labels = np.repeat(["abcdefgh"[i] for i in range(len(counts))], counts)
    return ImageSet.from_arrays(pixels, labels)


def contents(task: ImageSet) -> list[tuple[str, int]]:
    """Return the class and number of each image."""
    pixels = [int(np.asarray(loaded(image)[1])[0, 0, 0]) for image in task.images]
    return [(task.classes[label], number) for label, number in zip(task.labels, pixels, strict=True)]


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=2, max_size=8), seed=st.integers(0, 1000),
    n_images=st.sampled_from([None, 1, 5, (2, 9)]), imbalance=st.sampled_from([1.0, 3.0, 100.0]),
)  # fmt: skip
def test_random_subtasks(
    counts: list[int], seed: int, n_images: int | tuple[int, int] | None, imbalance: float
) -> None:
    whole = numbered(counts)
    everything = set(contents(whole))
    tasks = random_subtasks(whole, 5, n_images=n_images, imbalance=imbalance, seed=seed)
    again = random_subtasks(whole, 5, n_images=n_images, imbalance=imbalance, seed=seed)
    assert [contents(task) for task in tasks] == [contents(task) for task in again]
    for task in tasks:
        images = contents(task)
        assert set(images) <= everything
        assert len(set(images)) == len(images)
        sizes = np.bincount(task.labels)
        assert len(sizes) == len(task.classes) >= 2
        assert sizes.min() >= 1
        most = {None: 20, 1: 1, 5: 5, (2, 9): 9}[n_images]
        assert sizes.max() <= most
        if n_images is None and imbalance == 1:
            assert sizes.tolist() == [counts["abcdefgh".index(name)] for name in task.classes]


def test_imbalance_is_geometric() -> None:
    (task,) = random_subtasks(numbered([60, 60, 60]), 1, n_classes=3, imbalance=4)
    assert sorted(np.bincount(task.labels).tolist()) == [15, 30, 60]


def test_class_counts_are_drawn_evenly() -> None:
    tasks = random_subtasks(numbered([2] * 5), 400, n_classes=(2, 5))
    frequencies = np.bincount([len(task.classes) for task in tasks], minlength=6)
    assert frequencies[:2].sum() == 0
    assert frequencies[2:].min() > 70
    assert len({task.name for task in tasks}) == 400


def test_class_pairs() -> None:
    tasks = class_pairs(numbered([1, 2, 3, 4]))
    assert [task.classes for task in tasks] == [tuple(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")]
    assert [len(task) for task in tasks] == [3, 4, 5, 5, 6, 7]


def test_class_subset() -> None:
    whole = numbered([1, 2, 3])
    assert contents(class_subset(whole, ["c", "a"])) == [image for image in contents(whole) if image[0] != "b"]
    with pytest.raises(UsageError, match="no class 'x'; one of a, b, c"):
        class_subset(whole, ["a", "x"])
    with pytest.raises(UsageError, match="at least 2"):
        class_subset(whole, ["a", "a"])


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(3, 20), min_size=2, max_size=5), n_parts=st.integers(1, 3))
def test_disjoint_samples(counts: list[int], n_parts: int) -> None:
    whole = numbered(counts)
    parts = disjoint_samples(whole, n_parts)
    assert sorted(image for part in parts for image in contents(part)) == sorted(contents(whole))
    sizes = [np.bincount(part.labels) for part in parts]
    assert all(np.abs(a - b).max() <= 1 for a, b in pairwise(sizes))


def test_what_is_refused() -> None:
    whole = numbered([2, 3])
    with pytest.raises(DataSetError, match="has 2 classes, 3 were asked for"):
        random_subtasks(whole, 1, n_classes=3)
    for wrong in ({"n_classes": 1}, {"n_classes": (2, 1)}, {"n_images": 0}, {"imbalance": 0.5}):
        with pytest.raises(UsageError):
            random_subtasks(whole, 1, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="n_tasks"):
        random_subtasks(whole, 0)
    with pytest.raises(DataSetError, match="class 'a' has 2 images for 3 parts"):
        disjoint_samples(whole, 3)
