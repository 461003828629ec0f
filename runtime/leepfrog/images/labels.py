"""Checks for suspicious labels: classes that are probably the same, or labels that are not classes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

from leepfrog.files import printable

_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
# Labels that mean "no class" in segmentation and detection.
_IGNORED = frozenset([255, -1])
FEWEST_SUSPECT_CLASSES = 10
_MASK = re.compile(
    r"[ _.-]+(masks?|labels?|labelids|seg|segmentation|gt|ground_?truth|annotation|annotated|depth|instances?|trimap)$",
    re.IGNORECASE,
)


def display_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as distinct printable text; names that look the same once escaped are numbered."""
    shown: dict[str, None] = {}
    for name in names:
        text, n = printable(name), 1
        while text in shown:
            n += 1
            text = f"{printable(name)} ({n})"
        shown[text] = None
    return tuple(shown)


def label_notes(names: Sequence[str], n_images: int) -> Iterator[str]:
    """Yield one sentence for each suspicious property of the labels.

    Args:
        names: the class names.
        n_images: total number of images.
    """
    alike = _groups((unicodedata.normalize("NFKC", name).casefold().strip(), name) for name in names)
    for group in alike:
        how = "spaces, case" if any(name != name.strip() for name in group) else "case"
        yield f"classes {_listed(group)} differ only by {how} or Unicode form and are treated as different classes"
    numbers = {name: float(name) for name in names if _NUMBER.fullmatch(name)}
    for group in _groups((number, name) for name, number in numbers.items()):
        yield f"classes {_listed(group)} are the same number and are treated as different classes"
    fractions = any(number != int(number) for number in numbers.values())
    if len(names) >= FEWEST_SUSPECT_CLASSES and len(numbers) == len(names) and fractions:
        yield f"labels are fractional numbers, treated as {len(names)} classes; measurements are not class labels"
    elif len(names) >= FEWEST_SUSPECT_CLASSES and 2 * len(names) > n_images:
        yield f"{len(names)} classes for {n_images} images: labels look like measurements or identifiers, not classes"
    others = sorted(number for number in numbers.values() if number not in _IGNORED)
    if len(numbers) == len(names) and not fractions and others and others[0] >= 0 and others[-1] < 254:
        for name, number in numbers.items():
            if number in _IGNORED:
                yield f"label {printable(name)} often means 'ignore' but is treated as a class"


def mask_notes(paths: Iterable[str]) -> Iterator[str]:
    """Yield a sentence if some images look like masks of other images in the set."""
    stems = {os.path.splitext(path)[0]: path for path in paths}
    masks = [path for stem, path in stems.items() if (match := _MASK.search(stem)) and stem[: match.start()] in stems]
    if masks:
        n, first = len(masks), printable(masks[0])
        yield f"{n} file(s) look like masks of other images but are treated as images, such as {first}"


def _groups(pairs: Iterable[tuple[Hashable, str]]) -> list[list[str]]:
    """Return the groups of names that share a key, if there are several."""
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for key, name in pairs:
        groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(ascii(name) for name in names)
