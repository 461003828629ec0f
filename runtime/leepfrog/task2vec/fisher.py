"""The Fisher information of a probe's filters on a set of images, streamed."""

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

# Images between two looks at whether the embedding is stable; the most that is held of single images' values.
CHUNK = 64


class Moments:
    """Mean and standard error of per-image values, added row by row.

    Attributes:
        n: rows so far.
        mean: [F].
    """

    def __init__(self, width: int) -> None:
        self.n = 0
        self.mean = np.zeros(width)
        self._deviations = np.zeros(width)

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add rows [n, F]."""
        self.n = add_rows(rows, self.n, self.mean, self._deviations)

    @property
    def standard_errors(self) -> Floats:
        """Of the mean, [F]; NaN for fewer than two rows."""
        if self.n < 2:
            return np.full(len(self.mean), np.nan)
        return np.asarray(np.sqrt(self._deviations / (self.n * (self.n - 1))))


def self_distance(mean: Floats, standard_errors: Floats) -> float:
    """About how far, in the symmetric distance, an embedding lies from one of as many other images of the same task.

    With relative errors e_j = s_j / F_j small, h0 / (h0 + h1) is 1/2 + x and h1 / (h0 + h1) is 1/2 - x with
    x = (e0 - e1) / 4, and one minus their cosine is 8 times the mean of x^2, so the mean over filters of e_j^2.
    NaN if the standard errors are unknown; filters that are 0 are left out. The head is taken as given: what another
    sample would change in it comes on top. Twelve pairs of samples of about 120 images, each with a
    head of its own, lay 2.4 times as far apart (1.6 to 3.4).
    """
    alive = mean > 0
    if not alive.any():
        return 0.0
    with np.errstate(over="ignore"):  # of a stranger's file
        return float(np.mean((standard_errors[alive] / mean[alive]) ** 2))


@dataclasses.dataclass
class _BackwardJob:
    """A job of one chunk: every image's squared gradients, from its row of `features`."""

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
        # One generator an image: its signs depend neither on the batch nor on which thread is first.
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
    """How the Fisher information is estimated: fields of `EmbedRequest`."""

    @property
    def estimator(self) -> str:
        """Of the inner expectation, see `cotangents`."""

    @property
    def tolerance(self) -> float:
        """The `self_distance` that is small enough; 0 for all images."""

    @property
    def max_images(self) -> int | None:
        """Look at no more than so many; None for all."""

    @property
    def seed(self) -> int:
        """Of the order of images and of the estimator."""


def fisher(
    probe: ProbeFile,
    images: HashedImages,
    head: Head,
    features: NDArray[np.float32],
    request: EstimateOptions,
    context: RunContext,
) -> tuple[Moments, dict[int, str]]:
    """E_x E_{y ~ p(y|x)} (d log p(y|x) / d w)^2, averaged over each filter's weights.

    Images are taken in a random order, and no more once the embedding is stable.

    Args:
        probe: the network.
        images: the set, and which images of it are used.
        head: of the task, on the probe's features.
        features: of the images used, [N, D], in the set's order.
        request: how to estimate.
        context: device, cores and progress, which advances with each image.

    Returns:
        Moments of each filter [F], and reasons of images that could no longer be read, by position.

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
