"""Sums of source probabilities by target class, and LEEP and leave-one-out LEEP made of them (see `scores`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import ArrayError
from leepfrog.kernels import leep as kernels
from leepfrog.scoring.sample import ProbSample
from leepfrog.scoring.score import Score, mean_of

Floats = NDArray[np.float64]
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
        likelihood = np.zeros(len(labels))
        kernels.add_weighted(probs, labels, conditional, likelihood)
        return np.asarray(np.log(likelihood))

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
    """Both scores of one model.

    Attributes:
        leep, leep_loo: the scores, their terms in the order of the shards.
    """

    leep: Score
    leep_loo: Score


def leep_scores(mass: JointMass, shards: Callable[[], Iterable[Shard]]) -> LeepScores:
    """LEEP and leave-one-out LEEP from the sums over all shards and two more passes over the same shards.

    Memory is bounded by a shard and a few numbers an image and a cell of `mass`.
    """
    plain, held_out = log_likelihood(mass), loo_log_likelihood(mass)
    terms = [(plain(shard), held_out(shard), shard[1]) for shard in shards()]
    plain_terms, held_out_terms, labels = (np.concatenate(parts) for parts in zip(*terms, strict=True))
    influence = influence_of(mass, plain_terms, shards)
    plain_score = leep_of(mass, plain_terms, influence, labels)
    return LeepScores(plain_score, leep_loo_of(mass, held_out_terms, influence, labels, plain_score.value))


def influence_of(mass: JointMass, terms: Floats, shards: Callable[[], Iterable[Shard]]) -> Floats:
    """What each image does to the score through the conditional that it helps to make, [N], beside its own term.

    The derivative of 1/N sum_j log sum_z P(y_j | z) theta_z(x_j) by image i's weight in P(y | z) = S_yz / S_z is

        sum_z theta_z(x_i) / S_z (G_yz - sum_y' P(y' | z) G_y'z),  y = y_i,  G_yz = sum_{j: y_j = y} theta_z(x_j) / l_j

    with l_j image j's likelihood, exp(terms[j]). It is as large as the terms' own variation when images are few.
    Leave-one-out LEEP takes it over: its own likelihoods come close to 0, where a derivative promises too much.
    """
    demand = np.zeros_like(mass.joint)
    start = 0
    for probs, labels in shards():
        kernels.add_demand(probs, labels, terms[start : start + len(labels)], demand)
        start += len(labels)
    total = mass.joint.sum(axis=0)
    sure = total > 0
    mean = np.divide((mass.joint * demand).sum(axis=0), total, out=np.zeros_like(total), where=sure)
    worth = np.divide(demand - mean, total, out=np.zeros_like(demand), where=sure)
    influence = np.zeros(len(terms))
    start = 0
    for probs, labels in shards():
        kernels.add_weighted(probs, labels, worth, influence[start : start + len(labels)])
        start += len(labels)
    return influence


def mass_of(sample: ProbSample) -> tuple[JointMass, Shard]:
    """The sums of a sample, and the sample as a shard."""
    mass = JointMass.empty(sample.n_target, sample.probs.shape[1])
    mass.add(sample.probs, sample.labels)
    return mass, (sample.probs, sample.labels)


def leep_of(mass: JointMass, terms: Floats, influence: Floats, labels: NDArray[np.int64]) -> Score:
    """LEEP of its per-image terms and influence, both [N]."""
    diagnostics = {"n_masked_source": int(np.count_nonzero(~mass.joint.any(axis=0)))}
    return mean_of("leep", terms, labels, mass.joint.shape[1], diagnostics, influence)


def leep_loo_of(mass: JointMass, terms: Floats, influence: Floats, labels: NDArray[np.int64], plain: float) -> Score:
    """Leave-one-out LEEP of its per-image terms, not yet floored, and influence, both [N], with LEEP of the same."""
    held_out = math.fsum(floored(mass, terms)) / len(terms)
    diagnostics: dict[str, int | float] = {
        "n_floored": int(np.count_nonzero(terms < _floor(mass))),
        "n_classes_seen_once": int(np.count_nonzero(mass.counts == 1)),
        "many_images": (plain + held_out) / 2 + 0.0,
    }
    return mean_of("leep_loo", floored(mass, terms), labels, mass.joint.shape[1], diagnostics, influence)


def _floor(mass: JointMass) -> float:
    """log 1 / (N C)."""
    return -math.log(mass.n_samples * np.count_nonzero(mass.counts))


def floored(mass: JointMass, terms: Floats) -> Floats:
    """Leave-one-out LEEP's per-image terms [N], at least log 1 / (N C)."""
    return np.maximum(terms, _floor(mass))
