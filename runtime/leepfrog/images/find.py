"""Find labelled images: a folder with one folder a class, or a CSV table of `file_name,label`."""

from __future__ import annotations

import contextlib
import csv
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from leepfrog.arguments import StrPath
from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.dataset import FileImage, ImageSet, check_classes

EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".jp2",
    ]
)
SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing", "dev"])

Identity = tuple[int, int]
"""Device and inode of a folder, the same along every path to it."""


def find_images(source: StrPath) -> ImageSet:
    """Labelled images below a folder, or listed in a CSV file.

    A folder holds one folder a class (torchvision's ImageFolder layout); images count to the class at any depth below
    it. A folder with less than two class folders may hold a `metadata.csv` instead. Hidden files and folders and
    `__MACOSX` are passed over. Symbolic links are followed, but each folder is entered once a class, and none above the
    class at all.

    Args:
        source: a folder, or a `.csv` file with the columns `file_name` (relative to the file) and `label`.

    Raises:
        DataSetError: nothing there, not readable, splits instead of classes, or fewer than two classes.
    """
    path = Path(source)
    try:
        if path.is_dir():
            return _find_in_folders(path)
        if path.suffix.lower() == ".csv" and path.is_file():
            return _read_table(path)
        known = path.exists()
    except OSError as error:  # a folder above it is closed to us, or the name is too long
        raise DataSetError(f"{printable(path)}: cannot be read: {error.strerror}") from None
    if known:
        raise DataSetError(f"{printable(path)}: not a folder and not a .csv table of file_name,label")
    raise DataSetError(f"{printable(path)}: no such folder or file")


def _find_in_folders(root: Path) -> ImageSet:
    where = printable(root)
    notes: list[str] = []
    folders, loose = _class_folders(root, notes)
    if len(folders) < 2 and (root / "metadata.csv").is_file():  # one folder: all images together beside their table
        return _read_table(root / "metadata.csv")
    if folders and all(name.lower() in SPLITS for name in folders):
        raise DataSetError(
            f"{where}: holds splits ({', '.join(map(printable, folders))}), not classes; give one of them, "
            f"such as {printable(root / folders[0])}"
        )
    if not folders:
        hint = f"{loose} images lie in it unsorted; " if loose else ""
        raise DataSetError(
            f"{where}: no class folders; {hint}put each class's images in a folder of its own, or list them in a CSV "
            "table of file_name,label"
        )
    if loose:
        notes.append(f"{loose} image(s) directly in {where} have no class and were left out")
    rows: list[tuple[str, str]] = []
    for name in folders:
        paths = sorted(_walk(root / name, notes))
        if not paths:
            notes.append(f"class {printable(name)} has no images and was left out")
        rows.extend((path, name) for path in paths)
    return _image_set(where, rows, notes)


def _class_folders(root: Path, notes: list[str]) -> tuple[list[str], int]:
    """Names of the folders in `root`, sorted, and how many images lie beside them."""
    folders, loose = [], 0
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                if _passed_over(entry.name):
                    continue
                if _is_dir(entry):
                    folders.append(entry.name)
                elif _is_image(entry.name):
                    loose += 1
    except OSError as error:
        raise DataSetError(f"{printable(root)}: cannot be read: {error.strerror}") from error
    return sorted(folders), loose


def _walk(folder: Path, notes: list[str]) -> Iterator[str]:
    """Image files at any depth below `folder`; each real folder is entered once, which ends symlink loops.

    Folders above count as entered: through a link to them, every other class's images would come in as this one's.
    """
    entered = _folders_above(folder)
    waiting = [os.fspath(folder)]
    while waiting:
        current = waiting.pop()
        try:
            identity = _identity(current)
            if identity in entered:
                continue
            entered.add(identity)
            with os.scandir(current) as entries:
                for entry in entries:
                    if _passed_over(entry.name):
                        continue
                    if _is_dir(entry):
                        waiting.append(entry.path)
                    elif _is_image(entry.name):
                        yield entry.path
        except OSError as error:
            notes.append(f"folder {printable(current)} cannot be read ({error.strerror}) and was left out")


def _folders_above(folder: Path) -> set[Identity]:
    """Those above the folder itself and, if it is a link, those above the link."""
    above = set(Path(os.path.realpath(folder)).parents)
    above.update(Path(os.path.realpath(folder.parent), "child").parents)
    found = set()
    for path in above:
        with contextlib.suppress(OSError):
            found.add(_identity(path))
    return found


def _identity(path: str | Path) -> Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _read_table(path: Path) -> ImageSet:
    where = printable(path)
    rows: list[tuple[str, str]] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            missing = {"file_name", "label"} - set(columns)
            if missing:
                raise DataSetError(
                    f"{where}: no column {' or '.join(sorted(missing))} (found: {', '.join(columns) or 'nothing'}); "
                    "the first line must be file_name,label"
                )
            for row in reader:
                name, label = row["file_name"], row["label"]
                if not name or label is None or not label.strip():
                    raise DataSetError(f"{where}, line {reader.line_num}: file_name or label is empty")
                rows.append((os.path.join(path.parent, name), label.strip()))
    except DataSetError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DataSetError(f"{where}: cannot be read as a UTF-8 CSV table: {error}") from error
    return _image_set(where, rows, [])


def _image_set(where: str, rows: list[tuple[str, str]], notes: list[str]) -> ImageSet:
    names = sorted({label for _, label in rows})
    check_classes([printable(name) for name in names], where)
    notes.extend(_look_alikes(names))
    index = {name: i for i, name in enumerate(names)}
    return ImageSet(
        name=where,
        classes=tuple(printable(name) for name in names),
        images=[FileImage(path) for path, _ in rows],
        labels=np.array([index[label] for _, label in rows], np.int64),
        notes=tuple(notes),
    )


def _look_alikes(names: Iterable[str]) -> Iterator[str]:
    """Classes whose names differ only by case or Unicode form: most likely one class, split by a copying tool."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[unicodedata.normalize("NFKC", name).casefold()].append(name)
    for group in groups.values():
        if len(group) > 1:
            shown = ", ".join(ascii(name) for name in group)
            yield f"classes {shown} differ only by case or Unicode form and are ranked as different classes"


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False
