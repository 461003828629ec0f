"""White level of greyscale images with more than 8 bits, determined once for the whole set rather than per image.

Files with 16 or 32 bits per pixel often contain 8, 10, 12 or 14 bits of data without stating so. Scaling by the range
of the container would turn them nearly black; scaling by the brightest pixel of each image would make dark images
bright.

The white level is therefore the smallest of 255, 1023, 4095, 16383 and 65535 that no image of the set in the same
container exceeds, and 1 or 255 for floats. It is part of the image hashes, because it affects the pixels.

Of 16-bit colours, Pillow returns only the upper 8 bits, so they cannot be rescaled. If these bits are hardly used, a
note says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from leepfrog.errors import ImageError
from leepfrog.images.dataset import ImageSet
from leepfrog.images.decode import Container, Greys

WHITES: dict[Container, tuple[float, ...]] = {
    "16 bits": (255, 1023, 4095, 16383, 65535),
    "32 bits": (255, 1023, 4095, 16383, 65535),
    "floats": (1, 255),
}
# Images that use less than this share of the range are reported in a note.
HARDLY_USED = 0.25


class LeveledSet(NamedTuple):
    """An image set with its white levels set.

    Attributes:
        images: the set.
        notes: notes on how the greys were scaled.
        whites: white level by image position, for the images that have one.
    """

    images: ImageSet
    notes: tuple[str, ...]
    whites: dict[int, float]


def level(images: ImageSet, greys: Mapping[int, Greys]) -> LeveledSet:
    """Set the white level of images with greys of more than 8 bits, one for all images in the same container.

    Args:
        images: the set.
        greys: ranges of the images with greys of more than 8 bits, by position.
    """
    held = list(images.images)
    highest: dict[Container, dict[int, float]] = defaultdict(dict)
    for position, (container, value) in greys.items():
        highest[container][position] = value
    notes: list[str] = []
    given: dict[int, float] = {}
    for container, whites in WHITES.items():
        if tops := highest[container]:
            white = next(value for value in whites if max(tops.values()) <= value)
            given.update(dict.fromkeys(tops, white))
            notes += _greys_note(images, container, tops, white)
    notes += _colors_note(highest["16-bit colours"])
    for position, white in given.items():
        held[position] = held[position].with_white(white)
    return LeveledSet(dataclasses.replace(images, images=held), tuple(notes), given)


def _greys_note(images: ImageSet, container: Container, tops: Mapping[int, float], white: float) -> Iterator[str]:
    """Yield a note on the white level, unless it is the container's maximum and all images use its range."""
    brightest = max(tops, key=tops.__getitem__)
    dark = sum(top < HARDLY_USED * white for top in tops.values())
    if container != "floats" and white < WHITES[container][-1]:
        yield (
            f"{len(tops)} image(s) store gray values as {container}; {white:g} was taken as white for all of them, "
            f"since no value exceeds {tops[brightest]:g}; if that is wrong, save them with 8 bits"
        )
    elif dark:
        yield (
            f"{dark} of {len(tops)} image(s) with gray values stored as {container} use less than a quarter of the "
            f"range 0..{white:g}, which was chosen because {images.images[brightest].name} reaches "
            f"{tops[brightest]:g}; if that is wrong, save them with 8 bits"
        )


def _colors_note(tops: Mapping[int, float]) -> Iterator[str]:
    dark = sum(top < HARDLY_USED * 255 for top in tops.values())
    if 2 * dark > len(tops):
        yield (
            f"{dark} of {len(tops)} image(s) with 16-bit colours use less than a quarter of their range and look "
            "dark; if they contain fewer than 16 bits of data, save them with 8 bits"
        )


def level_some(images: ImageSet, positions: Iterable[int]) -> LeveledSet:
    """Read the images at these positions and set the white level from their ranges alone."""
    greys = {}
    for position in positions:
        with contextlib.suppress(ImageError):
            if (values := images.images[position].examine()[1]) is not None:
                greys[position] = values
    return level(images, greys)
