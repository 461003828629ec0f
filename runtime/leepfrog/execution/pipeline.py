"""Inference pipeline: each image is decoded once for all models, and decoding overlaps with inference.

Two thread pools run concurrently, with a bounded number of images between them. Decoders read, decode and resize; lanes
run whole batches. On a CPU, a lane is one thread that runs one model at a time, with one lane per core. For networks of
this size, that is faster than parallelizing every operator across the cores, and no lane waits at a barrier while a
decoder occupies a core. Results are yielded to the caller, who processes them while the lanes continue.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import ImageError
from leepfrog.images.dataset import Digest, LabelledImage
from leepfrog.images.preprocess import Pixels, PreprocessSpec, normalize, resize_and_crop_reduced
from leepfrog.inference.bounded import PATIENCE, stop_all
from leepfrog.inference.devices import DEVICES

Crops = dict[tuple[object, ...], Pixels]

Output = TypeVar("Output", covariant=True)


class Job(Protocol[Output]):
    """Work on some images, batch by batch."""

    @property
    def spec(self) -> PreprocessSpec:
        """Preprocessing of the images."""

    @property
    def needed(self) -> Collection[int]:
        """Positions of the images to process."""

    def run(self, positions: Sequence[int], batch: NDArray[np.float32]) -> Output:
        """Process a preprocessed batch [n, 3, H, W]. It is called from several threads concurrently."""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded."""

    position: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Lanes:
    """Parallelization of inference: `count` concurrent batches of `batch_size` images, with `threads` threads each."""

    count: int
    threads: int
    batch_size: int

    @classmethod
    def plan(cls, device: str, threads: int, batch_size: int | None = None) -> Lanes:
        """Return the default for a device: one single-threaded lane per core, or one lane with all threads."""
        kind = DEVICES.named(device)
        batch_size = batch_size or kind.images_forward
        return cls(threads, 1, batch_size) if kind.lanes == "cores" else cls(1, threads, batch_size)


def stream(
    jobs: Sequence[Job[Output]],
    images: Mapping[int, LabelledImage],
    digests: Mapping[int, Digest],
    lanes: Lanes,
    decoders: int,
) -> Generator[Output | Unreadable, None, None]:
    """Run every job on the images that it needs.

    The caller should close this generator (`contextlib.closing`), so that running work is stopped if the caller fails.

    Args:
        jobs: the jobs to run.
        images: images by position.
        digests: hashes of the images when they were first read, by position.
        lanes: parallelization of inference.
        decoders: number of decoding threads.

    Yields:
        The results of the jobs, batch by batch as they become ready, and the images that could not be decoded.

    Raises:
        ModelError: a model fails.
    """
    pipeline = _Pipeline(jobs, images, digests, lanes, decoders)
    try:
        yield from pipeline.results()
    except BaseException as error:
        pipeline.stop(at_once=not isinstance(error, Exception))
        raise
    pipeline.end()


class _Pipeline(Generic[Output]):
    """The two thread pools and the batches in flight."""

    def __init__(
        self,
        jobs: Sequence[Job[Output]],
        images: Mapping[int, LabelledImage],
        digests: Mapping[int, Digest],
        lanes: Lanes,
        decoders: int,
    ) -> None:
        self._jobs, self._images, self._digests, self._lanes = jobs, images, digests, lanes
        self._specs = {job.spec.geometry: job.spec for job in jobs}
        self._most_ahead = 2 * decoders + lanes.batch_size
        self._most_running = 2 * max(lanes.count, len(jobs))
        self._decoders, self._lane_threads = ThreadPoolExecutor(decoders), ThreadPoolExecutor(lanes.count)
        self._running: set[Future[Output]] = set()

    def results(self) -> Iterator[Output | Unreadable]:
        """Decode ahead of the lanes and yield results as they become ready."""
        ahead = iter(sorted(set().union(*(job.needed for job in self._jobs))))
        decoding: deque[tuple[int, Future[Crops]]] = deque()
        ready: list[tuple[int, Crops]] = []
        while True:
            for position in itertools.islice(ahead, self._most_ahead - len(decoding)):
                decoding.append((position, self._decoders.submit(self._decode, position)))
            if not decoding:
                break
            position, decoded = decoding.popleft()
            try:
                ready.append((position, decoded.result()))
            except ImageError as error:
                yield Unreadable(position, str(error))
            if len(ready) == self._lanes.batch_size:
                self._dispatch(ready)
                ready = []
                yield from self._finished(self._most_running)
        self._dispatch(ready)
        yield from self._finished(0)

    def end(self) -> None:
        """Shut down the thread pools after all work is done."""
        self._decoders.shutdown()
        self._lane_threads.shutdown()

    def stop(self, at_once: bool) -> None:
        """Cancel pending work and wait for running batches until they finish or, if `at_once`, only briefly."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._lane_threads.shutdown(wait=False, cancel_futures=True)
        _let_end(self._running, stopped=at_once)

    def _decode(self, position: int) -> Crops:
        """Return the crops of an image for each geometry that the jobs need."""
        reductions = [spec.reduction for spec in self._specs.values()]
        digest, decoded = self._images[position].load_reduced(reductions)
        if digest != self._digests[position]:
            raise ImageError("changed while it was being read")
        both = zip(self._specs.items(), decoded, strict=True)
        return {geometry: resize_and_crop_reduced(image, spec) for (geometry, spec), image in both}

    def _dispatch(self, ready: Sequence[tuple[int, Crops]]) -> None:
        """Submit to each job a batch of the images that it needs."""
        for job in self._jobs:
            batch = [(position, crops[job.spec.geometry]) for position, crops in ready if position in job.needed]
            if batch:
                self._running.add(self._lane_threads.submit(_run, job, batch))

    def _finished(self, most_running: int) -> Iterator[Output]:
        """Wait until at most `most_running` batches are in flight; yield the results of the finished ones."""
        while len(self._running) > most_running:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            self._running.difference_update(done)
            yield from (future.result() for future in done)


def _run(job: Job[Output], batch: Sequence[tuple[int, Pixels]]) -> Output:
    crops = np.stack([pixels for _, pixels in batch])
    return job.run([position for position, _ in batch], normalize(crops, job.spec))


def _let_end(running: Collection[Future[Any]], stopped: bool) -> None:
    """Wait for running batches to finish; after Ctrl-C, only for a moment."""
    begun = [future for future in running if not future.cancelled()]
    if not stopped:
        wait(begun)
        return
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until and any(not future.done() for future in begun):
        stop_all()  # repeatedly, since a lane may have been about to start a run
        wait(begun, timeout=0.05)
