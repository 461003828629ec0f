"""What models put out for a set's images: hashed, looked up in the cache, and computed once where it is missing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from leepfrog.arguments import StrPath
from leepfrog.errors import DataSetError, ImageError
from leepfrog.images.dataset import Digest, ImageSet, check_classes, levelled_digest
from leepfrog.images.decode import Greys
from leepfrog.images.greys import level
from leepfrog.inference.cache import OutputCache
from leepfrog.inference.model import ModelFile, Session
from leepfrog.inference.ranges import keep_ranges, kept_ranges
from leepfrog.inference.stream import Lanes, Scoring, stream
from leepfrog.progress import Progress

# Model files open at once, in bytes; a larger zoo goes in waves, each of which decodes the images again.
WAVE_BYTES = 1 << 30
# Images that a thread hashes at a time; what the pool holds for one task is 2 kB.
HASHED_TOGETHER = 64
SHOWN_SKIPS = 5


@dataclasses.dataclass
class Outputs:
    """The outputs of some models on the usable images of a set.

    Attributes:
        images: the set.
        digests: each image's hash; empty where it could not be read.
        positions: where in the set each usable image stands; copies stand more than once.
        bad: reasons of the images that are left out, by position.
        caches: one a model, in which the outputs lie.
        n_inferred: one a model: images that passed it in this run.
        grey_notes: how images with greys of more than 8 bits were scaled.
        fallbacks: notes on models that ran partly on the CPU though another device was asked for.
    """

    images: ImageSet
    digests: list[Digest]
    positions: dict[Digest, list[int]]
    bad: dict[int, str]
    caches: list[OutputCache]
    n_inferred: list[int]
    grey_notes: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which images are used, [N]."""
        kept = np.zeros(len(self.images), bool)
        kept[[i for at in self.positions.values() for i in at]] = True
        return kept

    @property
    def counts(self) -> NDArray[np.int64]:
        """Used images of each class of the set."""
        return np.bincount(self.images.labels[self.kept], minlength=len(self.images.classes))

    def features(self, model: int, at: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """A model's features of the images used, [N, D], in the set's order; no row is held twice.

        Args:
            model: its place among the models.
            at: positions in the set of the images that are wanted, all of them used; None for all that are.

        Raises:
            DataSetError: no image is left.
            MachineError: the cache changed while it was being used.
        """
        return self._rows(model, "features", at)

    def probs(self, model: int, at: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """A model's probabilities over its source classes, [N, Z], as of `features`."""
        return self._rows(model, "probs", at)

    def widths(self, model: int) -> tuple[int, int]:
        """A model's numbers of source classes and features; DataSetError where no image is left."""
        for rows in self.caches[model].rows(self.positions):
            return rows.probs.shape[1], rows.features.shape[1]
        raise DataSetError(f"{self.images.name}: no image could be used")

    def _rows(self, model: int, field: str, at: NDArray[np.int64] | None) -> NDArray[np.float32]:
        at = np.flatnonzero(self.kept) if at is None else at
        place = np.full(len(self.images), -1)
        place[at] = np.arange(len(at))
        found: NDArray[np.float32] | None = None
        for rows in self.caches[model].rows(self.positions):
            values, places = getattr(rows, field), place[rows.positions]
            if found is None:
                found = np.empty((len(at), values.shape[1]), np.float32)
            found[places[places >= 0]] = values[places >= 0]
        if found is None:
            raise DataSetError(f"{self.images.name}: no image could be used")
        return found

    def notes(self) -> Iterator[str]:
        """What is odd about the images, and about how the models ran on them."""
        yield from self.fallbacks
        yield from self.grey_notes
        images = self.images
        repeated = [at for at in self.positions.values() if len(at) > 1]
        if repeated:
            extra = sum(len(at) - 1 for at in repeated)
            yield f"{extra} image(s) are copies of another image in the set and count again"
        torn = [at for at in repeated if len({int(images.labels[i]) for i in at}) > 1]
        if torn:
            names = " and ".join(images.images[i].name for i in torn[0][:2])
            yield f"{len(torn)} image(s) appear in more than one class, for example {names}"
        lost = [name for name, n in zip(images.classes, self.counts, strict=True) if n == 0]
        if lost:
            yield f"no image of {', '.join(lost[:5])} could be used"

    def skips(self) -> Iterator[str]:
        """A sentence that counts and names the images that are left out, for results that do not list them."""
        shown = [f"{self.images.images[i].name} ({reason})" for i, reason in sorted(self.bad.items())[:SHOWN_SKIPS]]
        if shown:
            more = [f"{len(self.bad) - len(shown)} more"] if len(self.bad) > len(shown) else []
            yield f"{len(self.bad)} image(s) could not be used and were skipped: {', '.join([*shown, *more])}"


@dataclasses.dataclass(frozen=True)
class Hashed:
    """A set whose files were all read once.

    Attributes:
        images: the set.
        digests: each image's hash; empty where it could not be read.
        positions: where in the set each readable image stands; copies stand more than once.
        bad: reasons of those that cannot be read, by position.
        grey_notes: as of Outputs.
    """

    images: ImageSet
    digests: list[Digest]
    positions: dict[Digest, list[int]]
    bad: dict[int, str]
    grey_notes: tuple[str, ...] = ()

    def part(self, wanted: NDArray[np.int64]) -> Hashed:
        """The same set, as if it had the images at these positions only."""
        chosen = set(wanted.tolist())
        positions = {digest: [i for i in at if i in chosen] for digest, at in self.positions.items()}
        bad = {i: reason for i, reason in self.bad.items() if i in chosen}
        positions = {digest: at for digest, at in positions.items() if at}
        return dataclasses.replace(self, positions=positions, bad=bad)


def hash_images(
    images: ImageSet, threads: int, strict: bool, progress: Progress, cache: StrPath | None = None
) -> Hashed:
    """Hash every image.

    Args:
        images: the set.
        threads: cores to use.
        strict: make what the set lacks an error: an image or folder that cannot be read, an image of a kind that is
            not supported. Files that only may be images, and videos, are none.
        progress: who is told how far the work is.
        cache: folder of the caches, which also keeps what was found out about images; None for leepfrog's own.

    Raises:
        ImageError: an image cannot be read, and `strict`.
        DataSetError: a folder could not be read or holds images of unsupported kinds, and `strict`.
    """
    if strict and images.unreadable:
        raise DataSetError(f"{images.name}: {images.unreadable[0]}")

    known = kept_ranges(cache)

    def examine(position: int) -> tuple[Digest, Greys | None] | ImageError:
        try:
            return images.images[position].examine(known)
        except ImageError as error:
            return error

    def examine_some(start: int) -> list[tuple[Digest, Greys | None] | ImageError]:
        return [examine(position) for position in range(start, min(start + HASHED_TOGETHER, len(images)))]

    progress.start("hashing", len(images))
    digests: list[Digest] = []
    bad: dict[int, str] = {}
    greys: dict[int, Greys] = {}
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(examine_some, range(0, len(images), HASHED_TOGETHER))
        for position, found in enumerate(itertools.chain.from_iterable(parts)):
            if isinstance(found, ImageError):
                bad[position] = str(found)
                digests.append(b"")
            else:
                digests.append(found[0])
                if found[1] is not None:
                    greys[position] = found[1]
            progress.advance(1)
    keep_ranges({digests[position]: found for position, found in greys.items()}, known, cache)
    levelled = level(images, greys)
    for position, white in levelled.whites.items():
        digests[position] = levelled_digest(digests[position], white)
    positions: dict[Digest, list[int]] = {}
    for position, digest in enumerate(digests):
        if position not in bad:
            positions.setdefault(digest, []).append(position)
    hashed = Hashed(levelled.images, digests, positions, bad, levelled.notes)
    if strict:
        _refuse(images, hashed.bad)
    return hashed


def infer(
    images: ImageSet | Hashed,
    models: Sequence[ModelFile],
    device: str,
    threads: int,
    strict: bool,
    progress: Progress,
    *,
    batch_size: int | None = None,
    opened: dict[str, OutputCache] | None = None,
    cache: StrPath | None = None,
) -> Outputs:
    """Have every model's outputs for every image in its cache.

    Args:
        images: the set, or a part of it, hashed.
        models: scoring models.
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: cores to use.
        strict: make an image that is bad or of an unsupported kind, or a folder that cannot be read, an error rather
            than leave it out.
        progress: who is told how far the work is.
        batch_size: images in one run of a model; None for what suits the device.
        opened: caches by the models' hashes, for callers that come again: opening one reads it through. Those that
            are not there are put there.
        cache: folder of the caches; None for leepfrog's own.

    Raises:
        ImageError: an image is bad, and `strict`.
        DataSetError: fewer than two classes are left; or as of `hash_images`.
        ModelError, MachineError: a model or the device fails.
    """
    hashed = hash_images(images, threads, strict, progress, cache) if isinstance(images, ImageSet) else images
    images, digests, positions, bad = hashed.images, hashed.digests, hashed.positions, dict(hashed.bad)
    opened = {} if opened is None else opened
    for model in models:
        if model.sha256 not in opened:
            opened[model.sha256] = OutputCache(model, device, progress.notice, cache)
    caches = [opened[model.sha256] for model in models]
    fallbacks: list[str] = []
    missing = [{at[0] for digest, at in positions.items() if digest not in cache} for cache in caches]
    if any(missing):
        what = f"{len(models)} models" if len(models) > 1 else models[0].name
        progress.start(f"inference, {what}", sum(map(len, missing)))
        for wave in _waves(models, missing):
            lanes = Lanes.plan(device, threads, batch_size)
            sessions = [Session(models[i], device, lanes.threads) for i in wave]
            fallbacks += [f"{each.model.name}: {each.fallback}" for each in sessions if each.fallback]
            jobs = [
                Scoring(session, caches[i], missing[i], images, digests)
                for i, session in zip(wave, sessions, strict=True)
            ]
            found = stream(jobs, images.images, digests, lanes, threads, progress.advance)
            del sessions, jobs  # before the next wave's are loaded
            for first, reason in found.items():
                bad.update(dict.fromkeys(positions[digests[first]], reason))
    if strict:
        _refuse(images, bad)
    # An image that one model has in its cache and another can no longer read counts for neither.
    usable = {digest: at for digest, at in positions.items() if at[0] not in bad}
    inferred = [len(wanted - bad.keys()) for wanted in missing]
    outputs = Outputs(images, digests, usable, bad, caches, inferred, hashed.grey_notes, tuple(fallbacks))
    try:
        check_classes([name for name, n in zip(images.classes, outputs.counts, strict=True) if n], images.name)
    except DataSetError as error:
        raise DataSetError("; ".join([str(error), *outputs.skips()])) from None
    return outputs


def _waves(models: Sequence[ModelFile], missing: Sequence[set[int]]) -> Iterator[list[int]]:
    """Models that have images to see, in groups whose files together stay below WAVE_BYTES."""
    wave: list[int] = []
    for i, model in enumerate(models):
        if not missing[i]:
            continue
        if wave and sum(models[j].size for j in wave) + model.size > WAVE_BYTES:
            yield wave
            wave = []
        wave.append(i)
    if wave:
        yield wave


def _refuse(images: ImageSet, bad: dict[int, str]) -> None:
    for position, reason in sorted(bad.items()):
        raise ImageError(f"{images.images[position].name}: {reason} ({len(bad)} bad image(s) in all)")
