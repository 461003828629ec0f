"""Image source for folders with one folder per class, or with images and a `metadata.csv` table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.class_folders import class_folders
from leepfrog.images.dataset import ImageSet, check_classes
from leepfrog.images.folders import Root, read_root
from leepfrog.images.kinds import not_read
from leepfrog.images.sources.base import Source, set_of_files
from leepfrog.images.sources.table import set_of_table

TABLE = "metadata.csv"


def set_of_folder(place: str) -> ImageSet:
    """Return the labelled images of a folder.

    Raises:
        DataSetError: the folder cannot be read, contains splits instead of classes, or has fewer than two classes.
    """
    path = Path(place)
    where = printable(path)
    root = read_root(path)
    filled = [folder for folder in root.folders if folder.images]
    if len(filled) < 2 and os.path.lexists(path / TABLE):  # all images may be in one folder next to their table
        return set_of_table(str(path / TABLE))
    kinds = list(not_read({where: root.not_read} | {folder.name: folder.not_read for folder in root.folders}))
    missed = [sentence for sentence, _ in kinds]
    notes: list[str] = []
    unreadable = [sentence for folder in root.folders for sentence in folder.unreadable]
    classes = class_folders(path, filled, notes)
    if len(classes) < 2:
        _refuse(where, root, [folder.name for folder in classes], [*unreadable, *missed])
    if root.n_loose:
        notes.append(f"{root.n_loose} image(s) directly in {where} have no class and were skipped")
    empty = (folder.name for folder in root.folders if not folder.images)
    notes.extend(f"class {printable(name)} has no images and was omitted" for name in empty)
    rows = [(image, folder.name) for folder in classes for image in folder.images]
    images_missed = [sentence for sentence, is_image in kinds if is_image]
    return set_of_files(where, rows, [*unreadable, *notes, *missed], [*unreadable, *images_missed])


def _refuse(where: str, root: Root, classes: Sequence[str], reasons: Sequence[str]) -> None:
    """Raise DataSetError for a folder with fewer than two classes; the message also reports what else was found."""
    more = "".join(f"; {reason}" for reason in reasons[:3])
    if not root.folders:
        loose = f"it contains {root.n_loose} unsorted images; " if root.n_loose else ""
        raise DataSetError(
            f"{where}: no class folders; {loose}put the images of each class in a separate folder, or list them in a "
            f"CSV table with the columns file_name,label{more}"
        )
    try:
        check_classes([printable(name) for name in classes], where)
    except DataSetError as error:
        loose = f"; {root.n_loose} images are not in a class folder" if root.n_loose else ""
        raise DataSetError(f"{error}{loose}{more}") from None


# Accepts any folder, so sources for special kinds of folders take precedence.
SOURCE = Source("a folder", os.path.isdir, set_of_folder, precedence=-1)
