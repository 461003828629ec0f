"""Units of work: some models on some images. They are picklable and have no side effects, so they can run anywhere."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Generator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.arrays import same_fields
from leepfrog.execution.pipeline import Lanes, Unreadable, stream
from leepfrog.images.dataset import Digest, LabelledImage
from leepfrog.images.preprocess import PreprocessSpec
from leepfrog.inference.model import ModelFile, Session


@dataclasses.dataclass(frozen=True)
class UnitModel:
    """A model of a unit and the images to run it on.

    Attributes:
        model: the model file.
        needed: positions of the images without cached outputs.
        known_consistent: whether an earlier run has shown that its outputs depend on the image alone.
    """

    model: ModelFile
    needed: frozenset[int]
    known_consistent: bool


@dataclasses.dataclass(frozen=True)
class Unit:
    """Models to run on images; every image is decoded once for all models.

    Attributes:
        models: the models, with the images to run them on.
        images: images by position.
        digests: hashes of the images when they were first read, by position.
        device: name of the device, for example "cpu".
        threads: number of cores to use.
        batch_size: images per batch; None for the default of the device.
    """

    models: tuple[UnitModel, ...]
    images: Mapping[int, LabelledImage]
    digests: Mapping[int, Digest]
    device: str
    threads: int
    batch_size: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Outputs of a model for some images. Two blocks are equal if all their fields are equal.

    Attributes:
        model: SHA-256 of the model file.
        positions: positions of the n images.
        probs: source-class probabilities, [n, Z]; None if the model has none.
        features: features, [n, D].
        fallback: note on nodes of the model that ran on the CPU instead of the device; empty if there are none.
    """

    model: str
    positions: tuple[int, ...]
    probs: NDArray[np.float32] | None
    features: NDArray[np.float32]
    fallback: str = ""

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)


def run_unit(unit: Unit) -> list[Block | Unreadable]:
    """Return all blocks of a unit, in any order.

    Raises:
        ModelError, MachineError: a model or the device fails.
    """
    return list(blocks_of(unit))


def blocks_of(unit: Unit) -> Generator[Block | Unreadable, None, None]:
    """Yield the blocks of a unit as they are computed; close the generator as for `stream`."""
    lanes = Lanes.plan(unit.device, unit.threads, unit.batch_size)
    jobs = [
        _InferenceJob(model, Session(model.model, unit.device, lanes.threads), unit.images) for model in unit.models
    ]
    yield from stream(jobs, unit.images, unit.digests, lanes, unit.threads)


class _InferenceJob:
    """Job that computes the outputs of a model for each batch."""

    def __init__(self, model: UnitModel, session: Session, images: Mapping[int, LabelledImage]) -> None:
        self.needed: Collection[int] = model.needed
        self._session, self._images = session, images
        self._consistent, self._checking = model.known_consistent, threading.Lock()
        self._refused: Exception | None = None

    @property
    def spec(self) -> PreprocessSpec:
        return self._session.model.metadata.preprocess

    def run(self, positions: Sequence[int], batch: NDArray[np.float32]) -> Block:
        probs, features = self._session.run(batch, lambda row: self._images[positions[row]].name)
        with self._checking:
            if not self._consistent and self._refused is None:
                try:
                    self._session.check_consistent(batch, (probs, features))
                    self._consistent = True
                except Exception as error:  # including out of memory: unchecked outputs must not be returned
                    self._refused = error
            if self._refused is not None:  # by this batch or by one in another thread
                raise self._refused
        return Block(self._session.model.sha256, tuple(positions), probs, features, self._session.fallback)
