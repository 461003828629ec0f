"""Find labelled images with the sources of `leepfrog.images.sources`."""

from __future__ import annotations

import os

from leepfrog.arguments import StrPath, as_path
from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.sources import sources


def find_images(source: StrPath) -> ImageSet:
    """Find the labeled images in a folder or listed in a CSV file.

    A folder contains one folder per class (torchvision's ImageFolder layout); images at any depth below a class folder
    belong to that class. A folder with fewer than two class folders may contain a `metadata.csv` instead. Hidden files
    and folders and those of operating systems (`__MACOSX`, `@eaDir`) are ignored. Symbolic links are followed, but each
    folder is entered at most once per class, and parents of the class folder are never entered.

    Args:
        source: a folder, or a `.csv` file with the columns `file_name` (relative to the file) and `label`.

    Raises:
        DataSetError: the source does not exist, cannot be read, contains splits instead of classes, or has fewer than
            two classes.
        UsageError: the path is empty.
        MachineError: an image source of another package is broken.

    >>> find_images("PHOTOS")
    ImageSet('PHOTOS', 48 images of 4 classes: cat, china, coffee, rocket)
    >>> len(find_images("labels.csv"))
    48
    """
    path, where = as_path(source, "images"), os.fspath(source)
    try:
        opener = next((kind for kind in sources() if kind.accepts(where)), None)
        exists = path.exists()
    except OSError as error:  # a parent folder without permission, or a name that is too long
        raise DataSetError(f"{printable(path)}: cannot be read: {error.strerror}") from None
    if opener is not None:
        return opener.open_set(where)
    if exists:
        raise DataSetError(f"{printable(path)}: not {' and not '.join(kind.takes for kind in reversed(sources()))}")
    raise DataSetError(f"{printable(path)}: no such folder or file")


def open_data(data: ImageSet | StrPath) -> ImageSet:
    """Return an image set unchanged, or open a path with `find_images`; same errors."""
    return data if isinstance(data, ImageSet) else find_images(data)
