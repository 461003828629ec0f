"""One model's outputs on labelled images, and the sums over them that several scores share, each computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from leepfrog.errors import ArrayError
from leepfrog.scoring.checks import checked_features, checked_labels, checked_probs

F = TypeVar("F", bound=np.floating[Any])
Floats = NDArray[np.float64]

# Directions in which features vary by less than this part of the widest are rounding: sqrt(eps) of float32, since
# features are the outputs of float32 networks and variances are their squares.
RANK_TOLERANCE = 1e-10
# Rows that are in memory in float64 at a time, where a score needs no more of them.
BLOCK = 512


@dataclasses.dataclass(frozen=True, eq=False)
class _LabeledSample:
    """Images with their classes.

    Attributes:
        labels: [N] int64 in 0..C-1, every class occurring.
        n_target: C.
    """

    labels: NDArray[np.int64]
    n_target: int

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Images of each class, [C]."""
        return np.bincount(self.labels, minlength=self.n_target)

    @cached_property
    def one_hot(self) -> Floats:
        """1 at each image's class, [N, C]."""
        return np.eye(self.n_target)[self.labels]

    def class_means(self, values: Floats) -> Floats:
        """Means of values [N, k] by class, [C, k]."""
        return (self.one_hot.T @ values) / self.counts[:, None]


@dataclasses.dataclass(frozen=True, eq=False)
class ProbSample(_LabeledSample):
    """Labeled predictions of a model.

    Attributes:
        probs: [N, Z], the softmax over its source classes.
    """

    probs: NDArray[np.floating]

    @classmethod
    def of(cls, labels: ArrayLike, probs: ArrayLike, least: int = 2) -> ProbSample:
        """Labels [N] and probabilities [N, Z] of `least` classes or more; ArrayError where the checks refuse them."""
        array = checked_probs(probs)
        return cls(*_classes(labels, len(array), least), array)

    def part(self, rows: NDArray[np.int64]) -> ProbSample:
        """The sample of some images, among which every class must occur."""
        return ProbSample(self.labels[rows], self.n_target, self.probs[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSample(_LabeledSample):
    """Labeled features of a model, and their first and second moments.

    Attributes:
        features: [N, D], what the model's last linear layer reads.
    """

    features: NDArray[np.floating]

    @classmethod
    def of(cls, labels: ArrayLike, features: ArrayLike) -> FeatureSample:
        """Labels [N] of two classes or more and features [N, D]; ArrayError where the checks refuse them."""
        array = checked_features(features)
        return cls(*_classes(labels, len(array)), array)

    def part(self, rows: NDArray[np.int64]) -> FeatureSample:
        """The sample of some images, among which every class must occur; no sum is kept."""
        return FeatureSample(self.labels[rows], self.n_target, self.features[rows])

    @cached_property
    def x(self) -> Floats:
        """Features in float64, divided by their largest entry in size, so that squares neither vanish nor overflow."""
        x = self.features.astype(np.float64)
        return x / self.unit

    @cached_property
    def unit(self) -> float:
        """What `x` was divided by."""
        return float(max(self.features.max(), -self.features.min())) or 1.0

    @cached_property
    def centered(self) -> Floats:
        """`x` less its mean over images, [N, D]."""
        return np.asarray(self.x - self.mean)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """`x`, some rows at a time, so that no copy of all features is made: which rows, and they."""
        for start in range(0, len(self), BLOCK):
            rows = slice(start, start + BLOCK)
            yield rows, self.features[rows].astype(np.float64) / self.unit

    @cached_property
    def mean(self) -> Floats:
        """Of `x` over images, [D]."""
        return np.asarray(sum(rows.sum(axis=0) for _, rows in self.blocks()) / len(self))

    @cached_property
    def moments(self) -> tuple[Floats, Floats]:
        """The scatter matrix of `x`, [D, D], and the sums of `centered` by class, [D, C]; both block by block."""
        width = self.mean.size
        scatter, by_class = np.zeros((width, width)), np.zeros((width, self.n_target))
        for at, rows in self.blocks():
            centered = rows - self.mean
            scatter += centered.T @ centered
            by_class += centered.T @ self.one_hot[at]
        return scatter, by_class

    @cached_property
    def _principal(self) -> tuple[Floats, Floats]:
        return principal(self.centered)

    @property
    def variances(self) -> Floats:
        """Eigenvalues of the scatter matrix of `x`, sum_i (x_i - mean)(x_i - mean)', that are not 0, descending [r]."""
        return self._principal[0]

    @property
    def coordinates(self) -> Floats:
        """Principal coordinates of `x`, [N, r]: all that scores which do not mind rotations need to know of it."""
        return self._principal[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """A model's outputs for labeled images, for scores of either kind; at least one of the two is there.

    Attributes:
        probs: for scores that read predictions, or None.
        features: for scores that read features, of the same images, or None.
    """

    probs: ProbSample | None = None
    features: FeatureSample | None = None

    @classmethod
    def of(cls, labels: ArrayLike, probs: ArrayLike | None = None, features: ArrayLike | None = None) -> Sample:
        """Labels [N] with probabilities [N, Z], features [N, D] or both; ArrayError where the checks refuse them."""
        predictions = None if probs is None else checked_probs(probs)
        inputs = None if features is None else checked_features(features)
        given = [array for array in (predictions, inputs) if array is not None]
        if not given:
            raise ArrayError("a sample needs probs or features")
        if len(given[0]) != len(given[-1]):
            raise ArrayError(f"probs has {len(given[0])} rows, features {len(given[-1])}; they must be the same images")
        indices, n_target = _classes(labels, len(given[0]))
        return cls(
            None if predictions is None else ProbSample(indices, n_target, predictions),
            None if inputs is None else FeatureSample(indices, n_target, inputs),
        )

    @property
    def labels(self) -> NDArray[np.int64]:
        """The images' classes, [N] in 0..C-1."""
        return next(part.labels for part in (self.probs, self.features) if part is not None)


def principal(values: NDArray[F]) -> tuple[NDArray[F], NDArray[F]]:
    """Eigenvalues of values' values, descending, without those that are rounding, [r], and coordinates [N, r].

    By the smaller of the two Gram matrices, [N, N] or [D, D].
    """
    n, width = values.shape
    if n <= width:
        eigenvalues, vectors = eigh(values @ values.T, driver="evd", overwrite_a=True)
        kept = _kept(eigenvalues)
        return eigenvalues[kept], vectors[:, kept] * np.sqrt(eigenvalues[kept])
    eigenvalues, vectors = spectrum(values.T @ values)
    return eigenvalues, values @ vectors


def spectrum(gram: NDArray[F]) -> tuple[NDArray[F], NDArray[F]]:
    """Eigenvalues of a Gram matrix [D, D], descending, without those that are rounding, [r], and vectors [D, r].

    The matrix is overwritten.
    """
    eigenvalues, vectors = eigh(gram, driver="evd", overwrite_a=True)
    kept = _kept(eigenvalues)
    return eigenvalues[kept], vectors[:, kept]


def _kept(eigenvalues: NDArray[np.floating]) -> NDArray[np.int64]:
    top = max(float(eigenvalues[-1]), 0.0)
    return np.flatnonzero(eigenvalues > RANK_TOLERANCE * top)[::-1]


def _classes(labels: ArrayLike, n: int, least: int = 2) -> tuple[NDArray[np.int64], int]:
    indices, n_target = checked_labels(labels, n)
    if n_target < least:
        raise ArrayError("labels holds a single class; a score needs at least 2")
    return indices, n_target
