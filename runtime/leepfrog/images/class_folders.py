"""Distinguish class folders from splits, parts of a data set and tool output, by structure and then by name.

>>> from leepfrog.images.class_folders import is_part
>>> [name for name in ("train2017", "Test Set", "holdout", "images", "cat") if is_part(name)]
['train2017', 'Test Set', 'holdout', 'images']
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from leepfrog.errors import DataSetError
from leepfrog.files import printable
from leepfrog.images.folders import Folder, read_root
from leepfrog.images.kinds import word_set

_SPLITS = word_set(
    "train training trn tr trainset trainval traindata val vals valid valset validation test tests testing testset "
    "testdata tst te dev devset eval evaluation holdout fold folds split splits"
)
# Among other folders, these are language codes: Turkish and Telugu.
_LANGUAGES = word_set("tr te")
_CONTAINERS = word_set("images image imgs img jpegimages photos pictures pics data dataset datasets")
_SIDECARS = word_set(
    "annotation annotations label labels mask masks segmentation segmentations trimap trimaps groundtruth gt bbox "
    "bboxes xmls"
)
_TOOLS = word_set("runs wandb mlruns logs checkpoints")
_FILLERS = word_set("set sets data dataset images image imgs img photos hold out held of part small full mini raw")
# Names of folders that divide a class without being classes themselves.
_SERIES = word_set(
    "session sess day week month year date take batch part run video clip seq sequence scene cam camera page group "
    "subset folder subject person patient visit round"
)
SHOWN = 5


def is_split(name: str) -> bool:
    """Return whether a name is a spelling of a split such as "train" or "test", also with one letter ("trainA")."""
    words = {word for word in _words(name) if len(word) > 1}
    return bool(words & _SPLITS or {"hold", "out"} <= words) and words <= _SPLITS | _FILLERS


def is_part(name: str) -> bool:
    """Return whether a name is that of a split, of a folder for all images or of an annotation folder."""
    words = _words(name)
    return is_split(name) or (bool(words) and words <= _CONTAINERS | _SIDECARS)


def is_series(name: str) -> bool:
    """Return whether a name is a number, a date, a series name such as "session 3", or that of a part."""
    return is_part(name) or _words(name) <= _SERIES | _FILLERS


def class_folders(root: Path, folders: Sequence[Folder], notes: list[str]) -> list[Folder]:
    """Return the folders that are classes.

    Args:
        root: the parent folder.
        folders: the subfolders that contain images.
        notes: list to which one sentence is appended for each assumption.

    Raises:
        DataSetError: the folders are not classes, or the class folders are further down.
    """
    where = printable(root)
    _refuse_parts(root, folders)
    same = _refuse_same_contents(root, folders, notes)
    left_out = _left_out(folders)
    for folder, reason in left_out.items():
        notes.append(f"folder {printable(folder)} {reason} and was skipped")
    classes = [folder for folder in folders if folder.name not in left_out]
    if len(classes) == 1 and classes[0].is_hollow:
        _point_inside(root, classes[0])
    odd = [folder.name for folder in classes if is_part(folder.name) or folder.name.lower() in _TOOLS]
    series = len(classes) > 1 and all(is_series(folder.name) and _words(folder.name) for folder in classes)
    if odd or series:
        shown = _listed(odd or [folder.name for folder in classes])
        notes.append(f"folders named {shown} in {where} are treated as classes; move them elsewhere if they are not")
    if not same and len(classes) > 1 and all(folder.is_hollow and len(folder.parts) > 1 for folder in classes):
        inside = _listed(classes[0].parts)
        notes.append(
            f"no folder in {where} contains images directly, and these folders were taken as the classes; if their "
            f"subfolders are the classes ({inside}), pass one of them, such as {printable(root / classes[0].name)}"
        )
    return classes


def _refuse_parts(root: Path, folders: Sequence[Folder]) -> None:
    names = [folder.name for folder in folders]
    splits = [name for name in names if is_split(name)]
    if names and all(map(is_part, names)):
        what = "splits" if splits == names else "parts of a data set"
    elif len(splits) > 1 and not all(_words(name) <= _LANGUAGES for name in splits):
        what, names = "splits", splits
    else:
        return
    if not any(folder.is_hollow for folder in folders) and len(folders) == 1:
        return  # a single folder of images is reported elsewhere
    raise DataSetError(
        f"{printable(root)}: contains {what} ({_listed(names)}), not classes; pass one of them, such as "
        f"{printable(root / _best(folders, names))}"
    )


def _refuse_same_contents(root: Path, folders: Sequence[Folder], notes: list[str]) -> bool:
    """Refuse folders without direct images whose subfolders have the same names: they are splits, whatever their names.

    They are classes instead if the shared names form a series such as dates, if there are more of these folders than
    shared names, or if there are at least as many other folders with images. Then a note is added and True is returned.
    """
    hollow = [folder for folder in folders if folder.is_hollow]
    times = Counter(part for folder in hollow for part in folder.parts)
    shared = {part for part, n in times.items() if n > 1}
    alike = [
        folder
        for folder in hollow
        if (common := shared & folder.parts.keys()) and (len(common) > 1 or len(folder.parts) == 1)
    ]
    if len(alike) < 2 or all(len(folder.parts) == 1 for folder in alike):
        return False
    names = [folder.name for folder in alike]
    both = f"{_listed(names)} contain the same subfolders ({_listed(sorted(shared))})"
    if all(map(is_series, shared)) or len(alike) > len(shared) or 2 * len(alike) <= len(folders):
        notes.append(
            f"{both}, and each of them was taken as one class; if the subfolders are the classes, pass one of "
            f"{_listed(names)}"
        )
        return True
    raise DataSetError(
        f"{printable(root)}: {both}, so they appear to be splits or parts, not classes; pass one of them, such as "
        f"{printable(root / _best(alike, names))}, or, if they are the classes, list the images in a CSV table with "
        "the columns file_name,label"
    )


def _left_out(folders: Sequence[Folder]) -> dict[str, str]:
    """Return the folders that are not classes although their siblings are, with the reasons."""
    names = {folder.name for folder in folders}
    reasons = {}
    for folder in folders:
        if not folder.is_hollow or len(folders) < 3:
            continue
        same = names & folder.parts.keys()
        if len(same) > 1:
            reasons[folder.name] = f"contains subfolders named like its siblings ({_listed(sorted(same))})"
        elif folder.name.lower() in _TOOLS:
            reasons[folder.name] = "is named like a tool's output"
    return reasons


def _point_inside(root: Path, folder: Folder) -> None:
    """Raise DataSetError if the only folder with images contains the class folders."""
    path = root / folder.name
    inside = [child for child in read_root(path).folders if child.images]
    while len(inside) == 1 and inside[0].is_hollow:
        path /= inside[0].name
        inside = [child for child in read_root(path).folders if child.images]
    if len(inside) > 1:
        raise DataSetError(
            f"{printable(root)}: only {printable(folder.name)} contains images, in {len(inside)} subfolders "
            f"({_listed(child.name for child in inside)}); pass {printable(path)}"
        )


def _best(folders: Sequence[Folder], names: Sequence[str]) -> str:
    """Return the folder to suggest: preferably one with subfolders, then a training split, then an image folder."""
    chosen = [folder for folder in folders if folder.name in names]

    def rank(folder: Folder) -> tuple[bool, bool, bool]:
        words = _words(folder.name)
        return not folder.is_hollow, not any(word.startswith("tr") for word in words & _SPLITS), not words & _CONTAINERS

    return min(chosen, key=rank).name


def _words(name: str) -> set[str]:
    """Return the lower-case words of a name without numbers: "train" and "set" for "TrainSet_2017"."""
    return {word.lower() for word in re.findall(r"[^\W\d_]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", name)}


def _listed(names: Iterable[str]) -> str:
    shown = [printable(name) for name in names]
    more = f", and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
