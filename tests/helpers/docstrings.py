"""Parser for the Google-style docstring sections used in this repository."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")


def sections(docstring: str) -> Mapping[str, list[str]]:
    """Return the names that each section documents, in order; for Returns and Yields, the lines of text.

    Args:
        docstring: docstring with its indentation removed, as by `inspect.cleandoc`.
    """
    found: dict[str, list[str]] = {}
    current = None
    for line in docstring.splitlines():
        if (head := re.fullmatch(r"(\w+):", line)) and head[1] in SECTIONS:
            current = found.setdefault(head[1], [])
        elif line and not line.startswith(" "):
            current = None
        elif current is not None and (entry := re.match(r"    (\S.*)", line)):
            current.append(entry[1])
    return {
        name: lines if name in ("Returns", "Yields") else [each for line in lines for each in names(line)]
        for name, lines in found.items()
    }


def names(entry: str) -> list[str]:
    """Return the names that an entry documents: a and b for `a, b: description`."""
    before, colon, _ = entry.partition(":")
    return [name.strip(" *") for name in before.split(",")] if colon else [f"no colon in {entry!r}"]
