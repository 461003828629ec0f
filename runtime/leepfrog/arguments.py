"""Arguments of the public functions: paths of any type, one item in place of several, seeds, and misspelt names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import overload

from leepfrog.errors import UsageError

StrPath = str | os.PathLike[str]
"""A path as text or as an object, such as `pathlib.Path`."""

# So many names of a list are shown in a message.
MOST_NAMES = 20
# The longest that a model may be timed, in seconds.
MOST_SECONDS = 3600


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


def check_seed(seed: int) -> None:
    """UsageError if `seed` is negative, which random number generators reject."""
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, not {seed}")


def as_path(given: StrPath, what: str) -> Path:
    """A path that a user gave.

    Args:
        given: the path.
        what: what the path points to, for the message.

    Raises:
        UsageError: it is empty, which would mean the current folder, or holds a NUL.
    """
    text = os.fspath(given)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is not a path of {what}")
    return Path(text)


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """UsageError if a name is unknown; the message suggests the nearest known one.

    >>> check_name("device", "cudo", ["cpu", "cuda"])
    Traceback (most recent call last):
        ...
    leepfrog.errors.UsageError: device 'cudo' is unknown; did you mean cuda? (one of cpu, cuda)
    """
    names = list(known)
    if name not in names:
        raise UsageError(f"{what} {name!r} is unknown; {did_you_mean(name, names)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint for an unknown name: the nearest known one, and the first MOST_NAMES of all."""
    names = list(known)
    if not names:
        return "there are none"
    near = nearest(name, names)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    listed = f"one of {', '.join(names[:MOST_NAMES])}{more}"
    return f"did you mean {near}? ({listed})" if near else listed


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most similar to a misspelt one; None if none is similar."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.7)  # GPU is no CPU
    return by_lower[matches[0]] if matches else None
