"""Pass images through models: each image is decoded once for all of them, decoding overlaps inference.

Two pools of threads work side by side, with a bounded number of images between them. Decoders read, decode and resize;
lanes run whole batches. On a CPU a lane is one thread with one model run at a time, and there is a lane a core: for
networks of this size that beats sharing every operator among the cores, and a lane never waits at another's barrier
while a decoder holds a core. Results are yielded to the caller, who works on them while the lanes go on.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

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
    """Work to do on some images, batch by batch."""

    @property
    def spec(self) -> PreprocessSpec:
        """The preprocessing of the images."""

    @property
    def needed(self) -> Collection[int]:
        """Positions of the images that are wanted."""

    def run(self, positions: Sequence[int], batch: NDArray[np.float32]) -> Output:
        """Process a preprocessed batch [n, 3, H, W]. Called from several threads at once."""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded."""

    position: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Lanes:
    """How inference is parallelized: `count` batches of `batch_size` at a time, in sessions with `threads` threads."""

    count: int
    threads: int
    batch_size: int

    @classmethod
    def plan(cls, device: str, threads: int, batch_size: int | None = None) -> Lanes:
        """The default for a device: one single-threaded lane per core, or a single lane with all threads."""
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

    The caller should close this generator (`contextlib.closing`), so that what runs is stopped where the caller fails.

    Args:
        jobs: the jobs to run.
        images: the images by position.
        digests: the hashes that they had when they were first read, by position.
        lanes: how inference is parallelized.
        decoders: number of decoding threads.

    Yields:
        The results of jobs on batches, as soon as they are ready, and the images that could not be decoded.

    Raises:
        ModelError: a model fails.
    """
    geometries = {job.spec.geometry: job.spec for job in jobs}
    decoding: deque[tuple[int, Future[Crops]]] = deque()
    running: set[Future[Output]] = set()

    def prepare(position: int) -> Crops:
        digest, decoded = images[position].load_reduced([spec.reduction for spec in geometries.values()])
        if digest != digests[position]:
            raise ImageError("changed while it was being read")
        both = zip(geometries.items(), decoded, strict=True)
        return {key: resize_and_crop_reduced(image, spec) for (key, spec), image in both}

    def infer(job: Job[Output], batch: list[tuple[int, Pixels]]) -> Output:
        crops = np.stack([pixels for _, pixels in batch])
        return job.run([position for position, _ in batch], normalize(crops, job.spec))

    def dispatch(ready: list[tuple[int, Crops]]) -> None:
        for job in jobs:
            batch = [(position, crops[job.spec.geometry]) for position, crops in ready if position in job.needed]
            if batch:
                running.add(inferring.submit(infer, job, batch))

    def finished(most_running: int) -> Iterator[Output]:
        """Wait until no more than `most_running` batches are pending; yield the finished results."""
        while len(running) > most_running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            running.difference_update(done)
            yield from (future.result() for future in done)

    preparing, inferring = ThreadPoolExecutor(decoders), ThreadPoolExecutor(lanes.count)
    try:
        ahead = iter(sorted(set().union(*(job.needed for job in jobs))))
        ready: list[tuple[int, Crops]] = []
        while True:
            for position in itertools.islice(ahead, 2 * decoders + lanes.batch_size - len(decoding)):
                decoding.append((position, preparing.submit(prepare, position)))
            if not decoding:
                break
            position, prepared = decoding.popleft()
            try:
                ready.append((position, prepared.result()))
            except ImageError as error:
                yield Unreadable(position, str(error))
            if len(ready) == lanes.batch_size:
                dispatch(ready)
                ready = []
                yield from finished(2 * max(lanes.count, len(jobs)))
        dispatch(ready)
        yield from finished(0)
    except BaseException as error:
        preparing.shutdown(wait=False, cancel_futures=True)
        inferring.shutdown(wait=False, cancel_futures=True)
        _let_end(running, stopped=not isinstance(error, Exception))
        raise
    preparing.shutdown()
    inferring.shutdown()


def _let_end(running: Collection[Future[Any]], stopped: bool) -> None:
    """Wait for running batches to finish; after Ctrl-C, only for a moment."""
    begun = [future for future in running if not future.cancelled()]
    if not stopped:
        wait(begun)
        return
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until and any(not future.done() for future in begun):
        stop_all()  # again and again: a lane may just have been about to run
        wait(begun, timeout=0.05)
