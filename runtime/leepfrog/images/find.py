"""Find labelled images: a folder with one folder per class, or a CSV table of `file_name,label`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leepfrog.arguments import StrPath, as_path
from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.dataset import FileImage, ImageSet, check_classes
from leepfrog.images.folders import Root, read_root
from leepfrog.images.kinds import EXTENSIONS, not_read
from leepfrog.images.labels import display_names, label_notes, mask_notes
from leepfrog.images.layout import class_folders
from leepfrog.images.table import read_table

__all__ = ["EXTENSIONS", "find_images"]

TABLE = "metadata.csv"


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
    """
    path = as_path(source, "images")
    try:
        if path.is_dir():
            return _find_in_folders(path)
        if path.suffix.lower() == ".csv" and path.is_file():
            return _find_in_table(path)
        known = path.exists()
    except OSError as error:  # a folder above it is closed to us, or the name is too long
        raise DataSetError(f"{printable(path)}: cannot be read: {error.strerror}") from None
    if known:
        raise DataSetError(f"{printable(path)}: not a folder and not a .csv table of file_name,label")
    raise DataSetError(f"{printable(path)}: no such folder or file")


def _find_in_table(path: Path) -> ImageSet:
    return _image_set(printable(path), read_table(path), [])


def _find_in_folders(root: Path) -> ImageSet:
    where = printable(root)
    found = read_root(root)
    filled = [folder for folder in found.folders if folder.images]
    if len(filled) < 2 and os.path.lexists(root / TABLE):  # one folder: all images together beside their table
        return _find_in_table(root / TABLE)
    kinds = list(not_read({where: found.not_read} | {folder.name: folder.not_read for folder in found.folders}))
    missed = [sentence for sentence, _ in kinds]
    notes: list[str] = []
    unreadable = [sentence for folder in found.folders for sentence in folder.unreadable]
    classes = class_folders(root, filled, notes)
    if len(classes) < 2:
        _refuse(where, found, [folder.name for folder in classes], [*unreadable, *missed])
    if found.n_loose:
        notes.append(f"{found.n_loose} image(s) directly in {where} have no class and were left out")
    empty = (folder.name for folder in found.folders if not folder.images)
    notes.extend(f"class {printable(name)} has no images and was left out" for name in empty)
    rows = [(path, folder.name) for folder in classes for path in folder.images]
    images_missed = [sentence for sentence, is_image in kinds if is_image]
    return _image_set(where, rows, [*unreadable, *notes, *missed], (*unreadable, *images_missed))


def _refuse(where: str, found: Root, classes: Sequence[str], reasons: Sequence[str]) -> None:
    """Raise DataSetError where folders hold fewer than two classes, and say what else was there."""
    more = "".join(f"; {reason}" for reason in reasons[:3])
    if not found.folders:
        loose = f"{found.n_loose} images lie in it unsorted; " if found.n_loose else ""
        raise DataSetError(
            f"{where}: no class folders; {loose}put each class's images in a folder of its own, or list them in a CSV "
            f"table of file_name,label{more}"
        )
    try:
        check_classes([printable(name) for name in classes], where)
    except DataSetError as error:
        loose = f"; {found.n_loose} images lie beside the folders, without a class" if found.n_loose else ""
        raise DataSetError(f"{error}{loose}{more}") from None


def _image_set(
    where: str, rows: Sequence[tuple[str, str]], notes: Sequence[str], unreadable: tuple[str, ...] = ()
) -> ImageSet:
    names = sorted({label for _, label in rows})
    shown = display_names(names)
    check_classes(shown, where)
    index = {name: i for i, name in enumerate(names)}
    return ImageSet(
        name=where,
        classes=shown,
        images=[FileImage(path) for path, _ in rows],
        labels=np.array([index[label] for _, label in rows], np.int64),
        notes=(*notes, *label_notes(names, len(rows)), *mask_notes(path for path, _ in rows)),
        unreadable=unreadable,
    )
