"""Pass images through models: each image is decoded once for all of them, decoding overlaps inference.

Two pools of threads work side by side, with a bounded number of images between them. Decoders read, decode and resize;
lanes run whole batches. On a CPU a lane is one thread with one model run at a time, and there is a lane a core: for
networks of this size that beats sharing every operator among the cores, and a lane never waits at another's barrier
while a decoder holds a core.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import ImageError
from leepfrog.images.dataset import Digest, ImageSet, LabelledImage
from leepfrog.images.preprocess import Pixels, PreprocessSpec, normalise, resize_and_crop_reduced
from leepfrog.inference.bounded import PATIENCE, stop_all
from leepfrog.inference.cache import OutputCache
from leepfrog.inference.devices import device_named
from leepfrog.inference.model import Session

Crops = dict[tuple[object, ...], Pixels]
Advance = Callable[[int], None]


class Job(Protocol):
    """What is to be done with some images of a set, batch by batch."""

    @property
    def spec(self) -> PreprocessSpec:
        """What the images need."""
        ...

    @property
    def needed(self) -> Collection[int]:
        """Positions in the set of the images that are wanted."""
        ...

    def run(self, positions: Sequence[int], batch: NDArray[np.float32]) -> None:
        """Take a batch [n, 3, H, W], preprocessed. Called from several threads at once."""
        ...

    def flush(self) -> None:
        """Called at the end, also after a failure."""
        ...


class Scoring:
    """A job: outputs of a scoring model into a cache."""

    def __init__(
        self, session: Session, cache: OutputCache, needed: Collection[int], images: ImageSet, digests: Sequence[Digest]
    ) -> None:
        self._session, self._cache, self.needed = session, cache, needed
        self._images, self._digests = images.images, digests
        # What is in the cache came from a model that was checked.
        self._checked, self._checking = len(cache) > 0, threading.Lock()
        self._refused: Exception | None = None

    @property
    def spec(self) -> PreprocessSpec:
        """What the model's images need."""
        return self._session.model.metadata.preprocess

    def run(self, positions: Sequence[int], batch: NDArray[np.float32]) -> None:
        """Run the model and keep what it puts out."""
        probs, features = self._session.run(batch, lambda row: self._images[positions[row]].name)
        with self._checking:
            if not self._checked and self._refused is None:
                try:
                    self._session.check_consistent(batch, (probs, features))
                    self._checked = True
                except Exception as error:  # also for lack of memory: nothing is kept that was not checked
                    self._refused = error
            if self._refused is not None:  # by this batch, or by one that another thread ran
                raise self._refused
        self._cache.add([self._digests[position] for position in positions], probs, features)

    def flush(self) -> None:
        """Write what waits to be written."""
        self._cache.flush()


@dataclasses.dataclass(frozen=True)
class Lanes:
    """How inference is laid out: `count` batches of `batch_size` at a time, in sessions with `threads` threads."""

    count: int
    threads: int
    batch_size: int

    @classmethod
    def plan(cls, device: str, threads: int, batch_size: int | None = None) -> Lanes:
        """What suits a device: one lane per core, with a thread that computes by itself, or a single one."""
        kind = device_named(device)
        batch_size = batch_size or kind.images_forward
        return cls(threads, 1, batch_size) if kind.lanes == "cores" else cls(1, threads, batch_size)


def stream(
    jobs: Sequence[Job],
    images: Sequence[LabelledImage],
    digests: Sequence[Digest],
    lanes: Lanes,
    decoders: int,
    advance: Advance,
) -> dict[int, str]:
    """Run every job on the images that it needs.

    Args:
        jobs: what is to be run.
        images: the set.
        digests: the hashes that its images had when they were looked at first.
        lanes: how inference is laid out.
        decoders: threads that decode.
        advance: told of each number of (image, model) pairs finished.

    Returns:
        Reasons of the images that could not be decoded, by position.

    Raises:
        ModelError: a model fails; jobs are flushed all the same.
    """
    geometries = {job.spec.geometry: job.spec for job in jobs}
    wanted = sorted(set().union(*(job.needed for job in jobs)))
    bad: dict[int, str] = {}
    decoding: deque[tuple[int, Future[Crops]]] = deque()
    running: set[Future[None]] = set()
    ready: list[tuple[int, Crops]] = []

    def prepare(position: int) -> Crops:
        digest, decoded = images[position].load_reduced([spec.reduction for spec in geometries.values()])
        if digest != digests[position]:
            raise ImageError("changed while it was being read")
        both = zip(geometries.items(), decoded, strict=True)
        return {key: resize_and_crop_reduced(each, spec) for (key, spec), each in both}

    def infer(job: Job, batch: list[tuple[int, Pixels]]) -> None:
        crops = np.stack([pixels for _, pixels in batch])
        job.run([position for position, _ in batch], normalise(crops, job.spec))
        advance(len(batch))

    def dispatch() -> None:
        nonlocal running
        for job in jobs:
            batch = [(position, crops[job.spec.geometry]) for position, crops in ready if position in job.needed]
            if batch:
                running.add(inferring.submit(infer, job, batch))
        ready.clear()
        while len(running) > 2 * max(lanes.count, len(jobs)):
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()

    preparing, inferring = ThreadPoolExecutor(decoders), ThreadPoolExecutor(lanes.count)
    try:
        ahead = iter(wanted)
        exhausted = False
        while decoding or not exhausted:
            while not exhausted and len(decoding) < 2 * decoders + lanes.batch_size:
                position = next(ahead, None)
                if position is None:
                    exhausted = True
                else:
                    decoding.append((position, preparing.submit(prepare, position)))
            if decoding:
                position, prepared = decoding.popleft()
                try:
                    ready.append((position, prepared.result()))
                except ImageError as error:
                    bad[position] = str(error)
                    advance(sum(position in job.needed for job in jobs))
            if len(ready) == lanes.batch_size:
                dispatch()
        dispatch()
        for inferred in running:
            inferred.result()
    except BaseException as error:
        preparing.shutdown(wait=False, cancel_futures=True)
        inferring.shutdown(wait=False, cancel_futures=True)
        _let_end(running, stopped=not isinstance(error, Exception))
        raise
    finally:
        for job in jobs:
            job.flush()
    preparing.shutdown()
    inferring.shutdown()
    return bad


def _let_end(running: Collection[Future[None]], stopped: bool) -> None:
    """Wait for what runs: until it has finished, or, where Ctrl-C stopped it, for a moment."""
    begun = [future for future in running if not future.cancelled()]
    if not stopped:
        wait(begun)
        return
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until and any(not future.done() for future in begun):
        stop_all()  # again and again: a lane may just have been about to run
        wait(begun, timeout=0.05)
