"""Arguments of the public functions: paths of any type, and one item in place of several."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import overload

StrPath = str | os.PathLike[str]
"""A path as text or as an object, such as `pathlib.Path`."""


@overload
def several(given: str | Iterable[str]) -> tuple[str, ...]: ...


@overload
def several(given: StrPath | Iterable[StrPath]) -> tuple[StrPath, ...]: ...


def several(given: StrPath | Iterable[StrPath]) -> tuple[StrPath, ...]:
    """The items of a sequence; a string or a path is one item, not a sequence of characters.

    >>> several("ridge"), several(["ridge", "knn"])
    (('ridge',), ('ridge', 'knn'))
    """
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)
