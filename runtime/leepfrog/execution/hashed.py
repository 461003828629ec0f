"""Image sets whose images are identified by content hashes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from leepfrog.errors import DataSetError, ImageError
from leepfrog.execution.context import RunContext
from leepfrog.images.dataset import Digest, ImageSet, check_classes, leveled_digest
from leepfrog.images.decode import Greys
from leepfrog.images.greys import level
from leepfrog.inference.ranges import store_ranges, stored_ranges

# Images that a thread hashes per task; the pool's overhead per task is 2 kB.
HASHED_TOGETHER = 64
SHOWN_SKIPS = 5


@dataclasses.dataclass(frozen=True)
class HashedImages:
    """An image set with the hashes of its images and a record of which images are usable.

    Attributes:
        image_set: the set.
        digests: hash of each image; empty if the image could not be read.
        positions: indices of each usable image in the set, by hash; several for an image that occurs more than once.
        bad: reasons for excluding images, by position.
        grey_notes: notes on how images with greys of more than 8 bits were scaled.
    """

    image_set: ImageSet
    digests: list[Digest]
    positions: dict[Digest, list[int]]
    bad: dict[int, str]
    grey_notes: tuple[str, ...] = ()

    @functools.cached_property
    def used(self) -> NDArray[np.bool_]:
        """Mask of the images used, [N]."""
        used = np.zeros(len(self.image_set), bool)
        used[[i for at in self.positions.values() for i in at]] = True
        return used

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the images used, in the set's order."""
        return self.image_set.labels[self.used]

    @functools.cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of images used of each class of the set."""
        return np.bincount(self.labels, minlength=len(self.image_set.classes))

    def part(self, wanted: NDArray[np.int64]) -> HashedImages:
        """Return the set restricted to the images at these positions."""
        chosen = set(wanted.tolist())
        positions = {digest: [i for i in at if i in chosen] for digest, at in self.positions.items()}
        return dataclasses.replace(
            self,
            positions={digest: at for digest, at in positions.items() if at},
            bad={i: reason for i, reason in self.bad.items() if i in chosen},
        )

    def without(self, bad: Mapping[int, str]) -> HashedImages:
        """Return the set without these bad images; `bad` maps positions to reasons.

        Raises:
            DataSetError: fewer than two classes remain.
        """
        usable = {digest: at for digest, at in self.positions.items() if at[0] not in bad}
        left = dataclasses.replace(self, positions=usable, bad={**self.bad, **bad})
        names = [name for name, n in zip(self.image_set.classes, left.counts, strict=True) if n]
        try:
            check_classes(names, self.image_set.name)
        except DataSetError as error:
            raise DataSetError("; ".join([str(error), *left.skips()])) from None
        return left

    def notes(self) -> Iterator[str]:
        """Yield notes on the images used: copies, contradictory labels, classes without images."""
        yield from self.grey_notes
        images = self.image_set
        repeated = [at for at in self.positions.values() if len(at) > 1]
        if repeated:
            extra = sum(len(at) - 1 for at in repeated)
            yield f"{extra} image(s) are copies of another image in the set; each copy counts as an image"
        torn = [at for at in repeated if len({int(images.labels[i]) for i in at}) > 1]
        if torn:
            names = " and ".join(images.images[i].name for i in torn[0][:2])
            yield f"{len(torn)} image(s) appear in more than one class, for example {names}"
        lost = [name for name, n in zip(images.classes, self.counts, strict=True) if n == 0]
        if lost:
            yield f"no image of {', '.join(lost[:5])} could be used"

    def skips(self) -> Iterator[str]:
        """Yield one sentence that counts and names the skipped images, for results that do not list them."""
        shown = [f"{self.image_set.images[i].name} ({reason})" for i, reason in sorted(self.bad.items())[:SHOWN_SKIPS]]
        if shown:
            more = [f"{len(self.bad) - len(shown)} more"] if len(self.bad) > len(shown) else []
            yield f"{len(self.bad)} image(s) could not be used and were skipped: {', '.join([*shown, *more])}"

    def refuse_bad(self) -> None:
        """Raise ImageError if there is a bad image; the message names the first one."""
        if self.bad:
            position = min(self.bad)
            name = self.image_set.images[position].name
            raise ImageError(f"{name}: {self.bad[position]} ({len(self.bad)} bad image(s) in total)")


def hash_images(images: ImageSet, context: RunContext) -> HashedImages:
    """Hash every image of a set.

    Args:
        images: the set.
        context: the execution environment. If it is strict, unreadable images and folders and images in unsupported
            formats are errors; videos and files that merely may be images are not. Its cache folder also stores the
            ranges of greys with more than 8 bits.

    Raises:
        ImageError: the context is strict and an image cannot be read.
        DataSetError: the context is strict and a folder cannot be read or contains images in unsupported formats.
    """
    if context.strict and images.unreadable:
        raise DataSetError(f"{images.name}: {images.unreadable[0]}")

    known = stored_ranges(context.cache)

    def examine(position: int) -> tuple[Digest, Greys | None] | ImageError:
        try:
            return images.images[position].examine(known)
        except ImageError as error:
            return error

    def examine_some(start: int) -> list[tuple[Digest, Greys | None] | ImageError]:
        return [examine(position) for position in range(start, min(start + HASHED_TOGETHER, len(images)))]

    context.progress.start("hashing", len(images))
    digests: list[Digest] = []
    bad: dict[int, str] = {}
    greys: dict[int, Greys] = {}
    with ThreadPoolExecutor(context.cores) as pool:
        parts = pool.map(examine_some, range(0, len(images), HASHED_TOGETHER))
        for position, examined in enumerate(itertools.chain.from_iterable(parts)):
            if isinstance(examined, ImageError):
                bad[position] = str(examined)
                digests.append(b"")
            else:
                digests.append(examined[0])
                if examined[1] is not None:
                    greys[position] = examined[1]
            context.progress.advance(1)
    store_ranges({digests[position]: range_ for position, range_ in greys.items()}, known, context.cache)
    levelled = level(images, greys)
    for position, white in levelled.whites.items():
        digests[position] = leveled_digest(digests[position], white)
    positions: dict[Digest, list[int]] = {}
    for position, digest in enumerate(digests):
        if position not in bad:
            positions.setdefault(digest, []).append(position)
    hashed = HashedImages(levelled.images, digests, positions, bad, levelled.notes)
    if context.strict:
        hashed.refuse_bad()
    return hashed
