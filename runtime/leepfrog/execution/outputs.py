"""Model outputs for an image set, cached or computed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import DataSetError
from leepfrog.execution.context import RunContext
from leepfrog.execution.hashed import HashedImages, hash_images
from leepfrog.execution.pipeline import Unreadable
from leepfrog.execution.unit import Unit, UnitModel
from leepfrog.images.dataset import ImageSet
from leepfrog.inference.cache import OutputCache, Rows
from leepfrog.inference.metadata import FEATURES_OUTPUT, PROBS_OUTPUT
from leepfrog.inference.model import ModelFile, refuse_without_probs

# Total size in bytes of the model files open at once. A larger zoo runs in waves, each of which decodes the images.
WAVE_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a model for the images used of a set.

    Attributes:
        model: the model file.
        hashed: the set and its usable images.
        n_inferred: number of images on which the model was run this time; the others were cache hits.
    """

    model: ModelFile
    hashed: HashedImages
    n_inferred: int
    _cache: OutputCache

    def features(self, at: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the features of the images used, [N, D], in the order of the set, without holding rows twice.

        Args:
            at: positions in the set of the requested images, which must be in use; None for all images used.

        Raises:
            DataSetError: no image is usable.
            MachineError: the cache changed while it was being used.
        """
        return self._assembled("features", at)

    def probs(self, at: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the source-class probabilities, [N, Z], as in `features`; UsageError if the model has none."""
        refuse_without_probs("the requested output", [self.model])
        return self._assembled("probs", at)

    def rows(self) -> Iterator[Rows]:
        """Yield the outputs in cache order, at most one shard at a time; same errors as `features`."""
        return self._cache.rows(self.hashed.positions)

    @property
    def widths(self) -> tuple[int | None, int]:
        """Numbers of source classes (None without probs) and of features; DataSetError if no image is usable."""
        widths = self._cache.widths
        if not widths:
            raise self.none_left()
        return widths.get(PROBS_OUTPUT), widths[FEATURES_OUTPUT]

    def none_left(self) -> DataSetError:
        """Return the error to raise if no image is usable."""
        return DataSetError(f"{self.hashed.image_set.name}: no image could be used")

    def _assembled(self, field: str, at: NDArray[np.int64] | None) -> NDArray[np.float32]:
        at = np.flatnonzero(self.hashed.used) if at is None else at
        place = np.full(len(self.hashed.image_set), -1)
        place[at] = np.arange(len(at))
        assembled: NDArray[np.float32] | None = None
        for rows in self.rows():
            values, places = getattr(rows, field), place[rows.positions]
            if assembled is None:
                assembled = np.empty((len(at), values.shape[1]), np.float32)
            assembled[places[places >= 0]] = values[places >= 0]
        if assembled is None:
            raise self.none_left()
        return assembled


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Outputs of several models for a set.

    Attributes:
        hashed: the set and its usable images, on which every model could be run.
        models: the outputs, one entry per model.
        fallbacks: notes on models that ran partly on the CPU although another device was requested.
    """

    hashed: HashedImages
    models: tuple[ModelOutputs, ...]
    fallbacks: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[ModelOutputs]:
        return iter(self.models)

    def notes(self) -> Iterator[str]:
        """Yield notes on CPU fallbacks of the models and on the images."""
        yield from self.fallbacks
        yield from self.hashed.notes()


class Inference:
    """Runs models on images, reusing cached outputs.

    It keeps opened caches, since opening one reads it completely, and counts the images run through each model.

    Attributes:
        context: the execution environment.
    """

    def __init__(self, context: RunContext) -> None:
        """Use the device, cache and runner of a context."""
        self.context = context
        self._caches: dict[str, OutputCache] = {}
        self._n_inferred: dict[str, int] = {}
        self._fallbacks: dict[str, str] = {}

    def run(self, hashed: HashedImages, models: Sequence[ModelFile]) -> Outputs:
        """Return the outputs of models for a set or a part of it.

        Raises:
            ImageError: the context is strict and an image is bad.
            DataSetError: fewer than two classes remain.
            ModelError, MachineError: a model or the device fails.
        """
        missing = self.missing(hashed, models)
        bad = self._fill(hashed, models, missing) if any(missing.values()) else {}
        reasons = {i: reason for first, reason in bad.items() for i in hashed.positions[hashed.digests[first]]}
        if self.context.strict:
            dataclasses.replace(hashed, bad={**hashed.bad, **reasons}).refuse_bad()
        # Exclude images that any model can no longer read, even if cached for others: all models see the same images.
        usable = hashed.without(reasons)
        for sha256, positions in missing.items():
            self._n_inferred[sha256] += len(positions - reasons.keys())
        outputs = [
            ModelOutputs(model, usable, self._n_inferred[model.sha256], self._caches[model.sha256]) for model in models
        ]
        notes = (f"{model.name}: {note}" for model in models if (note := self._fallbacks.get(model.sha256)))
        return Outputs(usable, tuple(outputs), tuple(notes))

    def missing(self, hashed: HashedImages, models: Sequence[ModelFile]) -> dict[str, set[int]]:
        """Return the positions of images that are not in the cache of each model, by hash of the model."""
        context = self.context
        for model in models:
            if model.sha256 not in self._caches:
                cache = OutputCache(model, context.device, context.progress.notice, context.cache)
                self._caches[model.sha256] = cache
                self._n_inferred[model.sha256] = 0
        return {
            model.sha256: {at[0] for digest, at in hashed.positions.items() if digest not in self._caches[model.sha256]}
            for model in models
        }

    def _fill(self, hashed: HashedImages, models: Sequence[ModelFile], missing: dict[str, set[int]]) -> dict[int, str]:
        """Run models on the images missing from their caches; return the reasons for unreadable images, by position."""
        progress = self.context.progress
        what = f"{len(models)} models" if len(models) > 1 else models[0].name
        progress.start(f"inference, {what}", sum(map(len, missing.values())))
        bad: dict[int, str] = {}
        units = (self._unit(hashed, wave, missing) for wave in _waves(models, missing))
        blocks = self.context.runner.map(units)
        try:
            with contextlib.closing(blocks):
                for block in blocks:
                    if isinstance(block, Unreadable):
                        bad[block.position] = block.reason
                        progress.advance(sum(block.position in wanted for wanted in missing.values()))
                        continue
                    digests = [hashed.digests[position] for position in block.positions]
                    self._caches[block.model].add(digests, block.probs, block.features)
                    self._fallbacks[block.model] = block.fallback
                    progress.advance(len(block.positions))
        finally:
            for sha256 in missing:
                self._caches[sha256].flush()
        return bad

    def _unit(self, hashed: HashedImages, wave: Sequence[ModelFile], missing: dict[str, set[int]]) -> Unit:
        members = tuple(
            # Cached outputs imply that the model has been checked.
            UnitModel(model, frozenset(missing[model.sha256]), len(self._caches[model.sha256]) > 0)
            for model in wave
        )
        needed = sorted(frozenset().union(*(member.needed for member in members)))
        return Unit(
            members,
            {position: hashed.image_set.images[position] for position in needed},
            {position: hashed.digests[position] for position in needed},
            self.context.device,
            self.context.cores,
            self.context.batch_size,
        )


def infer(images: ImageSet, models: Sequence[ModelFile], context: RunContext) -> Outputs:
    """Hash the images of a set and return the outputs of models; same errors as `hash_images` and `Inference.run`."""
    context = context.checked()
    return Inference(context).run(hash_images(images, context), models)


def _waves(models: Sequence[ModelFile], missing: dict[str, set[int]]) -> Iterator[list[ModelFile]]:
    """Yield the models with missing outputs in groups of at most WAVE_BYTES of files; a larger model runs alone."""
    wave: list[ModelFile] = []
    for model in models:
        if not missing[model.sha256]:
            continue
        if wave and sum(member.size for member in wave) + model.size > WAVE_BYTES:
            yield wave
            wave = []
        wave.append(model)
    if wave:
        yield wave
