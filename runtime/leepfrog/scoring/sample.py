"""One model's outputs on labelled images, and cached sums over them that several scores share."""

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

# Directions whose variance is below this fraction of the largest are treated as rounding errors: features are outputs
# of float32 networks, and variances are their squares.
RANK_TOLERANCE = 1e-10
# Number of rows converted to float64 at a time, for scores that do not need all rows at once.
BLOCK = 512


@dataclasses.dataclass(frozen=True, eq=False)
class _LabeledSample:
    """Base class of samples: images with their classes.

    Attributes:
        labels: class index of each image, [N] int64 in 0..C-1; every class occurs.
        n_target: number of target classes, C.
    """

    labels: NDArray[np.int64]
    n_target: int

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of images per class, [C]."""
        return np.bincount(self.labels, minlength=self.n_target)

    @cached_property
    def one_hot(self) -> Floats:
        """One-hot labels, [N, C]."""
        return np.eye(self.n_target)[self.labels]

    def class_means(self, values: Floats) -> Floats:
        """Return the mean of values [N, k] per class, [C, k]."""
        return (self.one_hot.T @ values) / self.counts[:, None]


@dataclasses.dataclass(frozen=True, eq=False)
class ProbSample(_LabeledSample):
    """Labelled predictions of a model.

    Attributes:
        probs: softmax over the model's source classes, [N, Z].
    """

    probs: NDArray[np.floating]

    @classmethod
    def of(cls, labels: ArrayLike, probs: ArrayLike, least: int = 2) -> ProbSample:
        """Check labels [N] of at least `least` classes and probabilities [N, Z]; raise ArrayError if invalid."""
        array = checked_probs(probs)
        return cls(*_classes(labels, len(array), least), array)

    def part(self, rows: NDArray[np.int64]) -> ProbSample:
        """Return the sample of a subset of the images, in which every class must occur."""
        return ProbSample(self.labels[rows], self.n_target, self.probs[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSample(_LabeledSample):
    """Labelled features of a model, and their first and second moments.

    Attributes:
        features: inputs of the model's last linear layer, [N, D].
    """

    features: NDArray[np.floating]

    @classmethod
    def of(cls, labels: ArrayLike, features: ArrayLike) -> FeatureSample:
        """Check labels [N] of at least two classes and features [N, D]; raise ArrayError if invalid."""
        array = checked_features(features)
        return cls(*_classes(labels, len(array)), array)

    def part(self, rows: NDArray[np.int64]) -> FeatureSample:
        """Return the sample of a subset of the images, in which every class must occur; cached sums are not reused."""
        return FeatureSample(self.labels[rows], self.n_target, self.features[rows])

    @cached_property
    def x(self) -> Floats:
        """Features in float64, divided by their largest absolute entry, so that squares stay within range."""
        x = self.features.astype(np.float64)
        return x / self.unit

    @cached_property
    def unit(self) -> float:
        """Largest absolute entry of the features, the divisor of `x`; 1 if all are 0."""
        return float(max(self.features.max(), -self.features.min())) or 1.0

    @cached_property
    def centered(self) -> Floats:
        """`x` minus its mean over images, [N, D]."""
        return np.asarray(self.x - self.mean)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Yield `x` in blocks, as a slice and its rows, to avoid copying all features."""
        for start in range(0, len(self), BLOCK):
            rows = slice(start, start + BLOCK)
            yield rows, self.features[rows].astype(np.float64) / self.unit

    @cached_property
    def mean(self) -> Floats:
        """Mean of `x` over images, [D]."""
        return np.asarray(sum(rows.sum(axis=0) for _, rows in self.blocks()) / len(self))

    @cached_property
    def moments(self) -> tuple[Floats, Floats]:
        """Scatter matrix of `x`, [D, D], and sums of `centered` per class, [D, C]; both computed block by block."""
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
        """Nonzero eigenvalues of the scatter matrix of `x`, sum_i (x_i - mean)(x_i - mean)', descending, [r]."""
        return self._principal[0]

    @property
    def coordinates(self) -> Floats:
        """Principal coordinates of `x`, [N, r]: sufficient for scores that are invariant to rotation."""
        return self._principal[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """A model's outputs on labelled images, for both kinds of score; at least one of the two is present.

    Attributes:
        probs: predictions, for scores that read them, or None.
        features: features of the same images, for scores that read them, or None.
    """

    probs: ProbSample | None = None
    features: FeatureSample | None = None

    @classmethod
    def of(cls, labels: ArrayLike, probs: ArrayLike | None = None, features: ArrayLike | None = None) -> Sample:
        """Check labels [N] and probabilities [N, Z], features [N, D] or both; raise ArrayError if invalid."""
        predictions = None if probs is None else checked_probs(probs)
        inputs = None if features is None else checked_features(features)
        given = [array for array in (predictions, inputs) if array is not None]
        if not given:
            raise ArrayError("a sample needs probs or features")
        if len(given[0]) != len(given[-1]):
            raise ArrayError(
                f"probs has {len(given[0])} rows but features has {len(given[-1])}; both must be of the same images"
            )
        indices, n_target = _classes(labels, len(given[0]))
        return cls(
            None if predictions is None else ProbSample(indices, n_target, predictions),
            None if inputs is None else FeatureSample(indices, n_target, inputs),
        )

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of each image, [N] in 0..C-1."""
        return next(part.labels for part in (self.probs, self.features) if part is not None)


def principal(values: NDArray[F]) -> tuple[NDArray[F], NDArray[F]]:
    """Return the nonzero eigenvalues of values' values in descending order, [r], and principal coordinates, [N, r].

    They are computed from the smaller of the two Gram matrices, [N, N] or [D, D]. Eigenvalues below RANK_TOLERANCE
    times the largest count as 0.
    """
    n, width = values.shape
    if n <= width:
        eigenvalues, vectors = eigh(values @ values.T, driver="evd", overwrite_a=True)
        kept = _kept(eigenvalues)
        return eigenvalues[kept], vectors[:, kept] * np.sqrt(eigenvalues[kept])
    eigenvalues, vectors = spectrum(values.T @ values)
    return eigenvalues, values @ vectors


def spectrum(gram: NDArray[F]) -> tuple[NDArray[F], NDArray[F]]:
    """Return the nonzero eigenvalues of a Gram matrix [D, D] in descending order, [r], and eigenvectors, [D, r].

    Eigenvalues below RANK_TOLERANCE times the largest count as 0. The matrix is overwritten.
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
        raise ArrayError("labels contains a single class; a score needs at least 2")
    return indices, n_target
