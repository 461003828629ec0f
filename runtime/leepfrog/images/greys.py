"""Which value is white in images with greys of more than 8 bits: one rule over the whole set, never image by image.

Files with 16 or 32 bits per pixel often hold 8, 10, 12 or 14 bits of data and do not say so. Scaled by their container
they come out nearly black. Scaled each by its own brightest pixel, dark images would come out bright.

So white is the smallest of 255, 1023, 4095, 16383 and 65535 that no image of the set in the same container exceeds, and
1 or 255 for floats. It becomes part of the images' hashes, since it decides their pixels.

Of colours with 16 bits, Pillow gives the upper 8, so there is nothing left to scale; where they are hardly used, a note
says so.
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
# A note says which images use less than this share of the range.
HARDLY_USED = 0.25


class LeveledSet(NamedTuple):
    """A set whose images know their white.

    Attributes:
        images: the set.
        notes: what is to be said about it.
        whites: the values of white that images were given, by position.
    """

    images: ImageSet
    notes: tuple[str, ...]
    whites: dict[int, float]


def level(images: ImageSet, greys: Mapping[int, Greys]) -> LeveledSet:
    """Give images with greys of more than 8 bits the white that suits all of them in the same container.

    Args:
        images: the set.
        greys: ranges of these images, by position.
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
    """What was taken as white, unless it is what the container suggests and all images use it."""
    brightest = max(tops, key=tops.__getitem__)
    dark = sum(top < HARDLY_USED * white for top in tops.values())
    if container != "floats" and white < WHITES[container][-1]:
        yield (
            f"{len(tops)} image(s) have greys in {container}; {white:g} was taken as white in all of them, since no "
            f"value exceeds {tops[brightest]:g}: save them in 8 bits if that is wrong"
        )
    elif dark:
        yield (
            f"{dark} of {len(tops)} image(s) with greys in {container} use less than a quarter of 0..{white:g}, taken "
            f"as their range because {images.images[brightest].name} reaches {tops[brightest]:g}: save them in 8 bits "
            "if that is wrong"
        )


def _colors_note(tops: Mapping[int, float]) -> Iterator[str]:
    dark = sum(top < HARDLY_USED * 255 for top in tops.values())
    if 2 * dark > len(tops):
        yield (
            f"{dark} of {len(tops)} image(s) with colours of 16 bits use less than a quarter of their range and come "
            "out dark: save them in 8 bits if they hold fewer than 16"
        )


def level_some(images: ImageSet, positions: Iterable[int]) -> LeveledSet:
    """Read some images of a set, and give them the white that suits all of these."""
    greys = {}
    for position in positions:
        with contextlib.suppress(ImageError):
            if (values := images.images[position].examine()[1]) is not None:
                greys[position] = values
    return level(images, greys)
