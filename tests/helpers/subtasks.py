"""Tasks drawn from one labelled set, for experiments on task similarity and model selection.

>>> import leepfrog
>>> from subtasks import random_subtasks
>>> photos = leepfrog.find_images("PHOTOS")  # doctest: +SKIP
>>> tasks = random_subtasks(photos, 200, n_classes=(2, 10), n_images=50)  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from leepfrog.arguments import did_you_mean, several
from leepfrog.draws import members_of, shuffled
from leepfrog.errors import DataSetError, UsageError
from leepfrog.images.dataset import ImageSet
from numpy.typing import NDArray

Range = int | tuple[int, int]


def random_subtasks(
    images: ImageSet,
    n_tasks: int,
    *,
    n_classes: Range | None = None,
    n_images: Range | None = None,
    imbalance: float = 1.0,
    seed: int = 0,
) -> list[ImageSet]:
    """Draw tasks of random classes and sizes; two tasks may share classes and images.

    This is the protocol of the LEEP and TASK2VEC experiments: draw the number of classes uniformly, then the classes,
    then images of each class.

    Args:
        images: labelled images to draw from.
        n_tasks: number of tasks.
        n_classes: classes per task, or their range; None for 2 to all classes.
        n_images: images per class, or their range; None for all images.
        imbalance: ratio of class sizes. The first class of a task keeps all its images, the last one the fraction
            1 / imbalance, with geometric interpolation in between; every class keeps at least one image.
        seed: random seed; equal seeds give equal tasks.

    Raises:
        UsageError: a range is empty, n_classes is below 2, n_tasks below 1 or imbalance below 1.
        DataSetError: the set has fewer classes than requested.
    """
    low, high = _range(n_classes, (2, len(images.classes)), "n_classes")
    if low < 2:
        raise UsageError(f"a task needs at least 2 classes, not {low}")
    if high > len(images.classes):
        raise DataSetError(f"{images.name}: has {len(images.classes)} classes, {high} were asked for")
    if not imbalance >= 1:
        raise UsageError(f"imbalance must be 1 or more, not {imbalance}")
    if n_tasks < 1:
        raise UsageError(f"n_tasks must be at least 1, not {n_tasks}")
    rng = np.random.default_rng(seed)
    members = _members(images)
    tasks = []
    for number in range(n_tasks):
        count = int(rng.integers(low, high + 1))
        chosen = rng.permutation(len(members))[:count]
        shares = float(imbalance) ** (-np.arange(count) / (count - 1))
        parts = []
        for own, share in zip(shuffled((members[label] for label in chosen), rng), shares, strict=True):
            smallest, largest = _range(n_images, (len(own), len(own)), "n_images")
            wanted = int(rng.integers(smallest, largest + 1))
            parts.append(own[: max(1, round(min(wanted, len(own)) * share))])
        tasks.append(_subset(images, np.concatenate(parts), f"task {number}"))
    return tasks


def class_pairs(images: ImageSet) -> list[ImageSet]:
    """Return one task per pair of classes, in the order of the classes."""
    members = _members(images)
    return [
        _subset(images, np.concatenate([members[a], members[b]]), f"{images.classes[a]} or {images.classes[b]}")
        for a, b in itertools.combinations(range(len(members)), 2)
    ]


def class_subset(images: ImageSet, classes: str | Sequence[str]) -> ImageSet:
    """Return the task of distinguishing these classes.

    Raises:
        UsageError: a class is unknown, or there are fewer than two.
    """
    classes = several(classes)
    unknown = [name for name in classes if name not in images.classes]
    if unknown or len(set(classes)) < 2:
        raise UsageError(
            f"{images.name}: no class {unknown[0]!r}; {did_you_mean(unknown[0], images.classes)}"
            if unknown
            else "a task needs at least 2 classes"
        )
    wanted = [images.classes.index(name) for name in classes]
    return _subset(images, np.flatnonzero(np.isin(images.labels, wanted)), ", ".join(classes))


def disjoint_samples(images: ImageSet, n_parts: int, seed: int = 0) -> list[ImageSet]:
    """Split a set into n disjoint samples of the same task, with classes divided as evenly as possible.

    Raises:
        DataSetError: a class has fewer images than n_parts.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(n_parts)]
    for name, own in zip(images.classes, shuffled(_members(images), rng), strict=True):
        if len(own) < n_parts:
            raise DataSetError(f"{images.name}: class {name!r} has {len(own)} images for {n_parts} parts")
        for i, part in enumerate(parts):
            part.append(own[i::n_parts])
    return [_subset(images, np.concatenate(part), f"part {i + 1} of {n_parts}") for i, part in enumerate(parts)]


def _members(images: ImageSet) -> list[NDArray[np.int64]]:
    return members_of(images.labels, len(images.classes))


def _range(given: Range | None, otherwise: tuple[int, int], what: str) -> tuple[int, int]:
    low, high = otherwise if given is None else (given, given) if isinstance(given, int) else given
    if not 1 <= low <= high:
        raise UsageError(f"{what} must be a range from 1 upwards, not {low} to {high}")
    return low, high


def _subset(images: ImageSet, positions: NDArray[np.int64], what: str) -> ImageSet:
    """Return the images at these positions, in the order of the set and with the remaining classes only."""
    return dataclasses.replace(images[np.sort(positions)], name=f"{images.name} [{what}]", notes=())
