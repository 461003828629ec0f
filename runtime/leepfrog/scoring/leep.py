"""LEEP and leave-one-out LEEP.

Source: C. Nguyen, T. Hassner, M. Seeger, C. Archambeau, "LEEP: A New Measure to Evaluate Transferability of Learned
Representations", ICML 2020.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leepfrog.errors import ArrayError
from leepfrog.kernels import leep as kernels
from leepfrog.scoring.checks import checked_labels, checked_probs
from leepfrog.scoring.sample import Sample
from leepfrog.scoring.score import Score, mean_of

Shard = tuple[NDArray[np.floating], NDArray[np.int64]]


@dataclasses.dataclass
class JointMass:
    """Sums of source probabilities by target class: the partial sums of LEEP, which add over shards.

    Attributes:
        joint, joint_low: [C, Z] float64; their sum is sum_{i: y_i = y} theta_z(x_i), exact far beyond float64.
        counts: [C] int64, images of each class.
    """

    joint: NDArray[np.float64]
    joint_low: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, n_target: int, n_source: int) -> JointMass:
        """No images yet."""
        shape = (n_target, n_source)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(n_target, np.int64))

    def add(self, probs: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        """Add a shard: probs [n, Z], labels [n] in 0..C-1, both already checked."""
        kernels.add_joint(probs, labels, self.joint, self.joint_low)
        self.counts += np.bincount(labels, minlength=len(self.counts))

    def merge(self, other: JointMass) -> None:
        """Add another machine's sums over the same classes.

        Raises:
            ArrayError: the two were made for different numbers of classes.
        """
        if self.joint.shape != other.joint.shape:
            raise ArrayError(f"cannot merge sums of shape {self.joint.shape} and {other.joint.shape}")
        kernels.merge(self.joint.ravel(), self.joint_low.ravel(), other.joint.ravel(), other.joint_low.ravel())
        self.counts += other.counts

    def source_mass(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums over target classes, leading and low part, each [Z]."""
        mass = np.zeros(self.joint.shape[1])
        low = np.zeros_like(mass)
        for row, row_low in zip(self.joint, self.joint_low, strict=True):
            kernels.merge(mass, low, row, row_low)
        return mass, low

    @property
    def n_samples(self) -> int:
        """Images summed so far."""
        return int(self.counts.sum())


def log_likelihood(mass: JointMass) -> Callable[[Shard], NDArray[np.float64]]:
    """LEEP's per-image terms: a function from a shard to log sum_z P(y_i | z) theta_z(x_i), [n].

    P(y | z) = P(y, z) / P(z). A source class that no image gives any mass has no conditional; it cannot contribute
    either, since theta_z is 0 wherever it would be used, so its column is 0 rather than 0/0.
    """
    joint = mass.joint + mass.joint_low
    leading, low = mass.source_mass()
    total = leading + low
    conditional = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)

    def terms(shard: Shard) -> NDArray[np.float64]:
        probs, labels = shard
        out = np.empty(len(labels))
        kernels.log_likelihood(probs, labels, conditional, out)
        return out

    return terms


def loo_log_likelihood(mass: JointMass) -> Callable[[Shard], NDArray[np.float64]]:
    """Leave-one-out LEEP's per-image terms before flooring: log of the held-out likelihood, -inf where it is 0, [n]."""
    total, low = mass.source_mass()

    def terms(shard: Shard) -> NDArray[np.float64]:
        probs, labels = shard
        out = np.empty(len(labels))
        kernels.loo_likelihood(probs, labels, mass.joint, mass.joint_low, total, low, out)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(out))

    return terms


@dataclasses.dataclass(frozen=True)
class LeepScores:
    """Both scores of one model and the per-image terms that they average, which paired comparisons need.

    Attributes:
        leep, leep_loo: the scores.
        leep_terms, leep_loo_terms: [N] float64 each, in the order of the shards.
    """

    leep: Score
    leep_loo: Score
    leep_terms: NDArray[np.float64]
    leep_loo_terms: NDArray[np.float64]


def leep_scores(mass: JointMass, shards: Iterable[Shard]) -> LeepScores:
    """LEEP and leave-one-out LEEP from the sums over all shards and one more pass over the same shards.

    Memory is bounded by a shard and two numbers an image.
    """
    plain, held_out = log_likelihood(mass), loo_log_likelihood(mass)
    terms = [(plain(shard), held_out(shard)) for shard in shards]
    plain_terms = np.concatenate([t for t, _ in terms])
    held_out_terms = np.concatenate([t for _, t in terms])
    floored = np.maximum(held_out_terms, _floor(mass))
    return LeepScores(_leep(mass, plain_terms), _leep_loo(mass, held_out_terms), plain_terms, floored)


def leep(probs: ArrayLike, labels: ArrayLike) -> Score:
    """Log expected empirical prediction (LEEP): how well source predictions alone predict the target label.

    With P(y, z) = 1/N sum_{i: y_i = y} theta_z(x_i) and P(y | z) = P(y, z) / P(z),

        LEEP = 1/N sum_i log sum_z P(y_i | z) theta_z(x_i)

    It is at most 0, which perfect one-hot predictions reach; predictions that tell nothing give minus the entropy of
    the labels. It reads each image's own label into P(y | z), so it is biased upward on few images; compare models by
    `leep_loo` then. Cost O(N Z), float64.

    Args:
        probs: [N, Z] float32 or float64, each row the model's softmax over its Z source classes.
        labels: [N] integers, the target class of each image; any non-negative numbers.

    Returns:
        Score with diagnostics `n_masked_source`: source classes that no image gives any probability. The standard
        error is that of a mean of N terms, the conditional P(y | z) held fixed.

    Raises:
        ArrayError: see `checked_probs` and `checked_labels`.

    Source: Nguyen, Hassner, Seeger, Archambeau, ICML 2020, equations 1 and 2.

    >>> import numpy as np
    >>> leep(np.eye(3)[[0, 1, 2, 0]], [7, 5, 6, 7]).value
    0.0
    """
    shard, mass = _one_shard(probs, labels)
    return _leep(mass, log_likelihood(mass)(shard))


def leep_loo(probs: ArrayLike, labels: ArrayLike) -> Score:
    """Leave-one-out LEEP: LEEP with each image's own mass taken out before its likelihood is read.

        1/N sum_i log max( sum_z theta_z(x_i) (S_yz - theta_z(x_i)) / (S_z - theta_z(x_i)),  1 / (N C) )

    with S_yz = sum_{i: y_i = y} theta_z(x_i), y = y_i, and S_z its sum over y; source classes with nothing left are
    left out. It estimates what LEEP would give on held-out images. The floor 1 / (N C) is what one pseudo-image spread
    evenly over the C classes would give a class never seen otherwise; a class with a single image always meets it.

    Args, Raises: as `leep`.

    Returns:
        Score with diagnostics `n_floored` (images at the floor) and `n_classes_seen_once`.

    >>> import numpy as np
    >>> leep_loo(np.eye(2)[[0, 0, 1, 1]], [0, 0, 1, 1]).value
    0.0
    """
    shard, mass = _one_shard(probs, labels)
    return _leep_loo(mass, loo_log_likelihood(mass)(shard))


def score_leep(sample: Sample) -> Score:
    """`leep` of a checked sample."""
    mass = _mass_of(sample)
    return _leep(mass, log_likelihood(mass)(_shard_of(sample)))


def score_leep_loo(sample: Sample) -> Score:
    """`leep_loo` of a checked sample."""
    mass = _mass_of(sample)
    return _leep_loo(mass, loo_log_likelihood(mass)(_shard_of(sample)))


def _shard_of(sample: Sample) -> Shard:
    assert sample.probs is not None
    return sample.probs, sample.labels


def _mass_of(sample: Sample) -> JointMass:
    probs, labels = _shard_of(sample)
    mass = JointMass.empty(sample.n_target, probs.shape[1])
    mass.add(probs, labels)
    return mass


def _one_shard(probs: ArrayLike, labels: ArrayLike) -> tuple[Shard, JointMass]:
    array = checked_probs(probs)
    indices, n_target = checked_labels(labels, len(array))
    mass = JointMass.empty(n_target, array.shape[1])
    mass.add(array, indices)
    return (array, indices), mass


def _leep(mass: JointMass, terms: NDArray[np.float64]) -> Score:
    return _mean_of("leep", terms, mass, {"n_masked_source": int(np.count_nonzero(~mass.joint.any(axis=0)))})


def _leep_loo(mass: JointMass, terms: NDArray[np.float64]) -> Score:
    floor = _floor(mass)
    diagnostics = {
        "n_floored": int(np.count_nonzero(terms < floor)),
        "n_classes_seen_once": int(np.count_nonzero(mass.counts == 1)),
    }
    return _mean_of("leep_loo", np.maximum(terms, floor), mass, diagnostics)


def _floor(mass: JointMass) -> float:
    """log 1 / (N C)."""
    return -math.log(mass.n_samples * np.count_nonzero(mass.counts))


def _mean_of(name: str, terms: NDArray[np.float64], mass: JointMass, diagnostics: dict[str, int]) -> Score:
    return mean_of(name, terms, mass.joint.shape[1], int(np.count_nonzero(mass.counts)), diagnostics)
