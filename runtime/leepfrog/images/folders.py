"""What lies in a folder of class folders: images, files that are not read, and folders that cannot be listed."""

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

# Made by macOS, NAS boxes, Windows and Python.
PASSED_OVER = frozenset(
    ["__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"]
)

Identity = tuple[int, int]
"""Device and inode of a folder, the same along every path to it."""


@dataclasses.dataclass
class Folder:
    """A folder and all that lies at any depth below it.

    Attributes:
        name: its name in the folder above.
        images: paths of images, sorted.
        parts: how many of them lie in each folder directly inside; those beside these folders count for "".
        not_read: how many other files of each ending there are; files that accompany images do not count.
        unreadable: a sentence for each folder that cannot be read.
    """

    name: str
    images: list[str] = dataclasses.field(default_factory=list)
    parts: Counter[str] = dataclasses.field(default_factory=Counter)
    not_read: Counter[str] = dataclasses.field(default_factory=Counter)
    unreadable: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_hollow(self) -> bool:
        """Whether all images lie in folders inside it."""
        return bool(self.images) and "" not in self.parts


@dataclasses.dataclass
class Root:
    """A folder of class folders.

    Attributes:
        folders: those in it, sorted by name.
        n_loose: images beside them.
        not_read: other files beside them; see `Folder`.
    """

    folders: list[Folder]
    n_loose: int
    not_read: Counter[str]


def read_root(root: Path) -> Root:
    """Walk through a folder.

    Raises:
        DataSetError: it cannot be read.
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
    """Each real folder is entered once, which ends symlink loops.

    Folders above count as entered: through a link to them, every other class's images would come in as this one's.
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
            folder.unreadable.append(f"folder {printable(current)} cannot be read ({error.strerror}) and was left out")
    folder.images.sort()
    return folder


def _seen(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in entries if not entry.name.startswith(".") and entry.name not in PASSED_OVER)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _folders_above(folder: Path) -> set[Identity]:
    """Those above the folder itself and, if it is a link, those above the link."""
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
