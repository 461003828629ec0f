"""Sums of source probabilities by target class, and LEEP and leave-one-out LEEP computed from them (see `scores`)."""

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
    """Sums of source probabilities by target class: the partial sums of LEEP, which are additive over shards.

    Attributes:
        joint, joint_low: leading and low part of sum_{i: y_i = y} theta_z(x_i), [C, Z] float64; together they are far
            more precise than float64.
        counts: number of images per class, [C] int64.
    """

    joint: NDArray[np.float64]
    joint_low: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, n_target: int, n_source: int) -> JointMass:
        """Return the sums over no images."""
        shape = (n_target, n_source)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(n_target, np.int64))

    def add(self, probs: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        """Add a shard of probabilities [n, Z] and labels [n] in 0..C-1, both already checked."""
        kernels.add_joint(probs, labels, self.joint, self.joint_low)
        self.counts += np.bincount(labels, minlength=len(self.counts))

    def merge(self, other: JointMass) -> None:
        """Add the sums of another machine over the same classes.

        Raises:
            ArrayError: the two have different numbers of target or source classes.
        """
        if self.joint.shape != other.joint.shape:
            raise ArrayError(f"cannot merge sums of shape {self.joint.shape} and {other.joint.shape}")
        kernels.merge(self.joint.ravel(), self.joint_low.ravel(), other.joint.ravel(), other.joint_low.ravel())
        self.counts += other.counts

    def source_mass(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums over target classes as a leading and a low part, [Z] each."""
        mass = np.zeros(self.joint.shape[1])
        low = np.zeros_like(mass)
        for row, row_low in zip(self.joint, self.joint_low, strict=True):
            kernels.merge(mass, low, row, row_low)
        return mass, low

    @property
    def n_samples(self) -> int:
        """Number of images summed so far."""
        return int(self.counts.sum())


def log_likelihood(mass: JointMass) -> Callable[[Shard], NDArray[np.float64]]:
    """Return a function from a shard to LEEP's per-image terms log sum_z P(y_i | z) theta_z(x_i), [n].

    P(y | z) = P(y, z) / P(z). A source class without any mass has no conditional. It cannot contribute either, since
    theta_z is 0 for all images, so its column is set to 0 rather than 0/0.
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
    """Return a function from a shard to leave-one-out LEEP's per-image terms before flooring, [n].

    The terms are logarithms of held-out likelihoods, -inf where the likelihood is 0.
    """
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
    """LEEP and leave-one-out LEEP of one model.

    Attributes:
        leep, leep_loo: the two scores, with terms in the order of the shards.
    """

    leep: Score
    leep_loo: Score


def leep_scores(mass: JointMass, shards: Callable[[], Iterable[Shard]]) -> LeepScores:
    """Compute LEEP and leave-one-out LEEP from the sums over all shards and two more passes over the same shards.

    Memory is bounded by one shard and a few numbers per image and per cell of `mass`.
    """
    plain, held_out = log_likelihood(mass), loo_log_likelihood(mass)
    terms = [(plain(shard), held_out(shard), shard[1]) for shard in shards()]
    plain_terms, held_out_terms, labels = (np.concatenate(parts) for parts in zip(*terms, strict=True))
    influence = influence_of(mass, plain_terms, shards)
    plain_score = leep_of(mass, plain_terms, influence, labels)
    return LeepScores(plain_score, leep_loo_of(mass, held_out_terms, influence, labels, plain_score.value))


def influence_of(mass: JointMass, terms: Floats, shards: Callable[[], Iterable[Shard]]) -> Floats:
    """Return each image's influence on LEEP through the conditional P(y | z), [N], in addition to its own term.

    The derivative of 1/N sum_j log sum_z P(y_j | z) theta_z(x_j) with respect to image i's weight in
    P(y | z) = S_yz / S_z is

        sum_z theta_z(x_i) / S_z (G_yz - sum_y' P(y' | z) G_y'z),  y = y_i,  G_yz = sum_{j: y_j = y} theta_z(x_j) / l_j

    where l_j = exp(terms[j]) is the likelihood of image j. With few images, it is as large as the variation of the
    terms. Leave-one-out LEEP uses the same influence: its own likelihoods come close to 0, where a derivative
    overstates the effect.
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
    """Return the sums of a sample, and the sample as a single shard."""
    mass = JointMass.empty(sample.n_target, sample.probs.shape[1])
    mass.add(sample.probs, sample.labels)
    return mass, (sample.probs, sample.labels)


def leep_of(mass: JointMass, terms: Floats, influence: Floats, labels: NDArray[np.int64]) -> Score:
    """Return LEEP from its per-image terms and influence, [N] each."""
    diagnostics = {"n_masked_source": int(np.count_nonzero(~mass.joint.any(axis=0)))}
    return mean_of("leep", terms, labels, mass.joint.shape[1], diagnostics, influence)


def leep_loo_of(mass: JointMass, terms: Floats, influence: Floats, labels: NDArray[np.int64], plain: float) -> Score:
    """Return leave-one-out LEEP from its unfloored terms and influence, [N] each, and LEEP of the same images."""
    held_out = math.fsum(floored(mass, terms)) / len(terms)
    diagnostics: dict[str, int | float] = {
        "n_floored": int(np.count_nonzero(terms < _floor(mass))),
        "n_classes_seen_once": int(np.count_nonzero(mass.counts == 1)),
        "many_images": (plain + held_out) / 2 + 0.0,
    }
    return mean_of("leep_loo", floored(mass, terms), labels, mass.joint.shape[1], diagnostics, influence)


def _floor(mass: JointMass) -> float:
    """Return the lower bound of leave-one-out LEEP's terms, log 1 / (N C)."""
    return -math.log(mass.n_samples * np.count_nonzero(mass.counts))


def floored(mass: JointMass, terms: Floats) -> Floats:
    """Return leave-one-out LEEP's per-image terms [N], floored at log 1 / (N C)."""
    return np.maximum(terms, _floor(mass))
