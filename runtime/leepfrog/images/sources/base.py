"""Interface of image sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from leepfrog.images.dataset import FileImage, ImageSet
from leepfrog.images.labels import mask_notes


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of location from which labelled images can be loaded.

    Attributes:
        takes: description of the locations it opens, for messages, such as "a folder".
        accepts: function that returns whether a location is of this kind. The location is a path as the user gave it,
            or another string; the function checks its name and its existence, but not its contents. An OSError that it
            raises is reported to the user.
        open_set: function that returns the labelled images of an accepted location; raises DataSetError. It lists the
            images without reading them: that is left to `leepfrog.images.dataset.EncodedImage.read`.
        precedence: priority if several sources accept a location: the highest opens it; ties are broken by name.

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
    """Create a set from image files.

    Args:
        name: printable name of the source.
        rows: pairs of image path and label.
        notes: as in `ImageSet.from_labels`.
        unreadable: as in `ImageSet`.

    Raises:
        DataSetError: fewer than two classes.
    """
    images, labels = [FileImage(path) for path, _ in rows], [label for _, label in rows]
    files = ImageSet.from_labels(name, images, labels, notes, unreadable)
    return dataclasses.replace(files, notes=(*files.notes, *mask_notes(path for path, _ in rows)))
