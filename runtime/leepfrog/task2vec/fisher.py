"""Streaming estimation of the Fisher information of a probe's filters on a set of images."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import check_name
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import HashedImages
from leepfrog.execution.pipeline import Lanes, Unreadable, stream
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.devices import DEVICES
from leepfrog.kernels.moments import add_rows
from leepfrog.task2vec.choices import ESTIMATORS
from leepfrog.task2vec.cotangents import cotangents
from leepfrog.task2vec.head import Head
from leepfrog.task2vec.probe import ProbeFile
from leepfrog.task2vec.session import ProbeSession

Floats = NDArray[np.float64]

# Number of images between checks for convergence, which is also the number whose per-image values are in memory.
CHUNK = 64


class Moments:
    """Running mean and standard error of per-image values.

    Attributes:
        n: number of rows added so far.
        mean: mean of the rows, [F].
    """

    def __init__(self, width: int) -> None:
        self.n = 0
        self.mean = np.zeros(width)
        self._deviations = np.zeros(width)

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add per-image values, [n, F]."""
        self.n = add_rows(rows, self.n, self.mean, self._deviations)

    @property
    def standard_errors(self) -> Floats:
        """Standard errors of the mean, [F]; NaN for fewer than two rows."""
        if self.n < 2:
            return np.full(len(self.mean), np.nan)
        return np.asarray(np.sqrt(self._deviations / (self.n * (self.n - 1))))


def self_distance(mean: Floats, standard_errors: Floats) -> float:
    """Estimate the symmetric distance of an embedding to one from equally many other images of the same task.

    For small relative errors e_j = s_j / F_j, h0 / (h0 + h1) is 1/2 + x and h1 / (h0 + h1) is 1/2 - x with
    x = (e0 - e1) / 4, and one minus their cosine is 8 times the mean of x^2, which is the mean over filters of e_j^2.

    The result is NaN if the standard errors are unknown; filters with value 0 are excluded. The head is assumed to be
    fixed, so its own sampling variation is not included: twelve pairs of samples of about 120 images, each with its own
    head, were 2.4 times as far apart (1.6 to 3.4).
    """
    alive = mean > 0
    if not alive.any():
        return 0.0
    with np.errstate(over="ignore"):  # values from an untrusted file can overflow
        return float(np.mean((standard_errors[alive] / mean[alive]) ** 2))


@dataclasses.dataclass
class _BackwardJob:
    """Compute the squared gradients of each image in a chunk; `rows` maps image positions to rows of `features`."""

    session: ProbeSession
    head: Head
    features: NDArray[np.float32]
    request: EstimateOptions
    rows: dict[int, int]

    @property
    def spec(self) -> PreprocessSpec:
        return self.session.probe.metadata.preprocess

    @property
    def needed(self) -> Collection[int]:
        return self.rows.keys()

    def run(self, positions: Sequence[int], batch: NDArray[np.float32]) -> tuple[Sequence[int], Floats]:
        estimator, seed = self.request.estimator, self.request.seed
        # One generator per image, so that its signs depend neither on the batch nor on the order of threads.
        passes = [
            cotangents(
                self.head, self.features[[self.rows[position]]], estimator, np.random.default_rng([seed, position])
            )
            for position in positions
        ]
        values = np.zeros((len(positions), self.session.probe.metadata.n_filters))
        for of_images in zip(*passes, strict=True):
            weights, sent = (np.concatenate(parts) for parts in zip(*of_images, strict=True))
            values += weights[:, None] * self.session.run(batch, sent)
        return positions, values


class EstimateOptions(Protocol):
    """Options for estimating the Fisher information; implemented by `EmbedRequest`."""

    @property
    def estimator(self) -> str:
        """Name of the estimator of the inner expectation; see `cotangents`."""

    @property
    def tolerance(self) -> float:
        """Stop once `self_distance` is at most this value; 0 uses all images."""

    @property
    def max_images(self) -> int | None:
        """Maximum number of images; None for all."""

    @property
    def seed(self) -> int:
        """Random seed for the order of images and for the estimator."""


def fisher(
    probe: ProbeFile,
    images: HashedImages,
    head: Head,
    features: NDArray[np.float32],
    request: EstimateOptions,
    context: RunContext,
) -> tuple[Moments, dict[int, str]]:
    """Estimate E_x E_{y ~ p(y|x)} (d log p(y|x) / d w)^2, averaged over each filter's weights.

    Images are processed in random order until the estimate meets the tolerance.

    Args:
        probe: the probe.
        images: the image set, with a mask of the images used.
        head: head fitted to the task on the probe's features.
        features: features of the images used, [N, D], in the set's order.
        request: options of the estimation.
        context: device, cores and progress, which advances with each image.

    Returns:
        Moments of the filters [F], and the reasons why images can no longer be read, by position.

    Raises:
        UsageError: the estimator is unknown.
        ModelError, MachineError: the probe or the device fails.
    """
    check_name("estimator", request.estimator, ESTIMATORS)
    usable, place = np.flatnonzero(images.used), np.cumsum(images.used) - 1
    order = np.random.default_rng(request.seed).permutation(usable)[: request.max_images]
    lanes = Lanes.plan(context.device, context.cores, DEVICES.named(context.device).images_backward)
    session = ProbeSession(probe, context.device, lanes.threads)
    if session.fallback:
        context.progress.notice(f"{probe.metadata.name}: {session.fallback}")
    moments, bad = Moments(probe.metadata.n_filters), {}
    context.progress.start(f"backward passes, {probe.metadata.name}", len(order))
    encoded, digests = dict(enumerate(images.image_set.images)), dict(enumerate(images.digests))
    for chunk in _chunks(order):
        rows = {int(position): row for row, position in enumerate(chunk)}
        values = np.zeros((len(chunk), probe.metadata.n_filters))
        seen = np.zeros(len(chunk), bool)
        job = _BackwardJob(session, head, features[place[chunk]], request, rows)
        with contextlib.closing(stream([job], encoded, digests, lanes, context.cores)) as results:
            for result in results:
                if isinstance(result, Unreadable):
                    bad[result.position] = result.reason
                    context.progress.advance(1)
                else:
                    at = [rows[position] for position in result[0]]
                    values[at], seen[at] = result[1], True
                    context.progress.advance(len(at))
        moments.add(values[seen])
        if moments.n > 1 and self_distance(moments.mean, moments.standard_errors) <= request.tolerance:
            break
    return moments, bad


def _chunks(order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for i in range(math.ceil(len(order) / CHUNK)):
        yield order[CHUNK * i : CHUNK * (i + 1)]
