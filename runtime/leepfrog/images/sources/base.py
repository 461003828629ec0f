"""What leepfrog needs to know of a source of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from leepfrog.images.dataset import FileImage, ImageSet
from leepfrog.images.labels import mask_notes


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of place that labelled images come from.

    Attributes:
        takes: what it opens, for messages, such as "a folder".
        accepts: whether a place is of this kind, by its name and by what is there, not by what that holds: a path as
            the user gave it, or another text. An OSError of it is reported.
        open_set: the labelled images of a place that it accepts; raises DataSetError. It finds out what images there
            are and reads none of them: their `read` does (see `leepfrog.images.dataset.EncodedImage`).
        precedence: of several sources that accept a place, the one with the highest opens it, and of equals the first
            by name.

    >>> Source("a song", lambda where: where.endswith(".mid"), lambda where: ...).accepts("photos")
    False
    """

    takes: str
    accepts: Callable[[str], bool]
    open_set: Callable[[str], ImageSet]
    precedence: int = 0


def set_of_files(
    name: str, rows: Sequence[tuple[str, str]], notes: Sequence[str] = (), unreadable: Sequence[str] = ()
) -> ImageSet:
    """A set of image files.

    Args:
        name: where they come from, printable.
        rows: (path of the image, label).
        notes: same as for `ImageSet.from_labels`.
        unreadable: same as for the set.

    Raises:
        DataSetError: fewer than two classes.
    """
    images, labels = [FileImage(path) for path, _ in rows], [label for _, label in rows]
    files = ImageSet.from_labels(name, images, labels, notes, unreadable)
    return dataclasses.replace(files, notes=(*files.notes, *mask_notes(path for path, _ in rows)))
