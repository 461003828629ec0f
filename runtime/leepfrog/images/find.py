"""Find labelled images, wherever they are: the sources that there are stand in `leepfrog.images.sources`."""

from __future__ import annotations

import os

from leepfrog.arguments import StrPath, as_path
from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.sources import sources


def find_images(source: StrPath) -> ImageSet:
    """Labelled images below a folder, or listed in a CSV file.

    A folder holds one folder per class (torchvision's ImageFolder layout); images at any depth below a class folder
    belong to that class. A folder with fewer than two class folders may hold a `metadata.csv` instead. Hidden files and
    folders and those of operating systems (`__MACOSX`, `@eaDir`) are passed over. Symbolic links are followed, but each
    folder is entered once per class, and none above the class at all.

    Args:
        source: a folder, or a `.csv` file with the columns `file_name` (relative to the file) and `label`.

    Raises:
        DataSetError: nothing there, not readable, splits instead of classes, or fewer than two classes.
        UsageError: an empty path.
        MachineError: another package's source of images is broken.
    """
    path, where = as_path(source, "images"), os.fspath(source)
    try:
        opener = next((kind for kind in sources() if kind.accepts(where)), None)
        exists = path.exists()
    except OSError as error:  # a folder above it is closed to us, or the name is too long
        raise DataSetError(f"{printable(path)}: cannot be read: {error.strerror}") from None
    if opener is not None:
        return opener.open_set(where)
    if exists:
        raise DataSetError(f"{printable(path)}: not {' and not '.join(kind.takes for kind in reversed(sources()))}")
    raise DataSetError(f"{printable(path)}: no such folder or file")


def open_data(data: ImageSet | StrPath) -> ImageSet:
    """The images that a caller means: a set as it is, or what `find_images` finds, with its errors."""
    return data if isinstance(data, ImageSet) else find_images(data)
