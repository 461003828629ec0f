"""Which value is white in images with greys of more than 8 bits: one rule over the whole set, never image by image.

Files with 16 or 32 bits per pixel often hold 8, 10, 12 or 14 bits of data and do not say so. Scaled by their container
they come out nearly black. Scaled each by its own brightest pixel, dark images would come out bright.

So white is the smallest of 255, 1023, 4095, 16383 and 65535 that no image of the set exceeds, and 1 or 255 for floats.
It becomes part of the images' hashes, since it decides their pixels.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from leepfrog.errors import ImageError
from leepfrog.images.dataset import FileImage, ImageSet
from leepfrog.images.decode import Greys

WHITES: dict[bool, tuple[float, ...]] = {False: (255, 1023, 4095, 16383, 65535), True: (1.0, 255.0)}
# Where most images use less than this share of the range, a note says so.
HARDLY_USED = 0.25


class Levelled(NamedTuple):
    """A set whose images know their white, and what is to be said about it."""

    images: ImageSet
    notes: tuple[str, ...]


def level(images: ImageSet, greys: Mapping[int, Greys]) -> Levelled:
    """Give images with greys of more than 8 bits the white that suits all of them.

    Args:
        images: the set.
        greys: ranges of these images, by position.
    """
    held, notes = list(images.images), []
    for is_float, whites in WHITES.items():
        tops = {position: found.highest for position, found in greys.items() if found.is_float is is_float}
        if not tops:
            continue
        highest = max(tops.values())
        white = next((each for each in whites if highest <= each), whites[-1])
        for position in tops:
            image = held[position]
            assert isinstance(image, FileImage)
            held[position] = dataclasses.replace(image, white=white)
        dark = sum(top < HARDLY_USED * white for top in tops.values())
        if white != whites[-1] and not is_float:
            notes.append(
                f"{len(tops)} image(s) have greys of more than 8 bits; {white:g} was taken as white in all of them, "
                f"since no value exceeds {highest:g}: save them in 8 bits if that is wrong"
            )
        elif 2 * dark > len(tops):
            brightest = images.images[max(tops, key=lambda position: tops[position])].name
            notes.append(
                f"{dark} of {len(tops)} image(s) with greys of more than 8 bits use less than a quarter of "
                f"0..{white:g}, taken as their range because {brightest} reaches {highest:g}: save them in 8 bits if "
                "that is wrong"
            )
    return Levelled(dataclasses.replace(images, images=held), tuple(notes))


def level_some(images: ImageSet, positions: Iterable[int]) -> Levelled:
    """Read some images of a set, and give them the white that suits all of these."""
    greys = {}
    for position in positions:
        image = images.images[position]
        if isinstance(image, FileImage):
            with contextlib.suppress(ImageError):
                if (found := image.examine()[1]) is not None:
                    greys[position] = found
    return level(images, greys)
