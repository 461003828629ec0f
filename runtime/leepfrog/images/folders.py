"""Contents of a folder of class folders: images, files that are not read, and unreadable folders."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.kinds import ending, is_companion, is_image

# Created by macOS, NAS devices, Windows, file-system checks and Python.
PASSED_OVER = frozenset(
    ["__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"]
)

Identity = tuple[int, int]
"""Device and inode of a folder; they do not depend on the path by which it is reached."""


@dataclasses.dataclass
class Folder:
    """A folder and its contents at any depth.

    Attributes:
        name: name of the folder within its parent.
        images: paths of the images, sorted.
        parts: number of images in each direct subfolder; the key "" counts images that are not in a subfolder.
        not_read: number of other files by file extension; files that accompany images are not counted.
        unreadable: one sentence for each folder that cannot be read.
    """

    name: str
    images: list[str] = dataclasses.field(default_factory=list)
    parts: Counter[str] = dataclasses.field(default_factory=Counter)
    not_read: Counter[str] = dataclasses.field(default_factory=Counter)
    unreadable: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_hollow(self) -> bool:
        """True if the folder has images and all of them are in subfolders."""
        return bool(self.images) and "" not in self.parts


@dataclasses.dataclass
class Root:
    """A folder of class folders.

    Attributes:
        folders: the class folders, sorted by name.
        n_loose: number of images directly in the root folder.
        not_read: other files directly in the root folder, counted as in `Folder`.
    """

    folders: list[Folder]
    n_loose: int
    not_read: Counter[str]


def read_root(root: Path) -> Root:
    """Scan a folder of class folders.

    Raises:
        DataSetError: the folder cannot be read.
    """
    names, n_loose, not_read = [], 0, Counter[str]()
    try:
        with os.scandir(root) as entries:
            for entry in _seen(entries):
                if _is_dir(entry):
                    names.append(entry.name)
                elif is_image(entry.name):
                    n_loose += 1
                elif not is_companion(entry.name):
                    not_read[ending(entry.name)] += 1
    except OSError as error:
        raise DataSetError(f"{printable(root)}: cannot be read: {error.strerror}") from error
    return Root([_read_folder(root / name) for name in sorted(names)], n_loose, not_read)


def _read_folder(path: Path) -> Folder:
    """Scan a class folder, entering each physical folder once, so that symlink loops terminate.

    Parent folders count as already entered: following a link to one of them would assign the images of all other
    classes to this one.
    """
    folder = Folder(path.name)
    entered = _folders_above(path)
    waiting = [(os.fspath(path), "")]
    while waiting:
        current, part = waiting.pop()
        try:
            identity = _identity(current)
            if identity in entered:
                continue
            entered.add(identity)
            with os.scandir(current) as entries:
                for entry in _seen(entries):
                    if _is_dir(entry):
                        waiting.append((entry.path, part or entry.name))
                    elif is_image(entry.name):
                        folder.images.append(entry.path)
                        folder.parts[part] += 1
                    elif not is_companion(entry.name):
                        folder.not_read[ending(entry.name)] += 1
        except OSError as error:
            folder.unreadable.append(f"folder {printable(current)} cannot be read ({error.strerror}) and was skipped")
    folder.images.sort()
    return folder


def _seen(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in entries if not entry.name.startswith(".") and entry.name not in PASSED_OVER)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a symlink to itself
        return False


def _folders_above(folder: Path) -> set[Identity]:
    """Return the identities of all parents of a folder; for a symlink, of both its target and the link itself."""
    above = set(Path(os.path.realpath(folder)).parents)
    above.update(Path(os.path.realpath(folder.parent), "child").parents)
    identities = set()
    for path in above:
        with contextlib.suppress(OSError):
            identities.add(_identity(path))
    return identities


def _identity(path: str | Path) -> Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino
