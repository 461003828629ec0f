"""Argument handling of the public functions: paths, single items or sequences, seeds, and misspelled names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import overload

from leepfrog.errors import UsageError

StrPath = str | os.PathLike[str]
"""A path as text or as an object, such as `pathlib.Path`."""

# Maximum number of known names listed in a message.
MOST_NAMES = 20
# Maximum timing duration per model, in seconds.
MOST_SECONDS = 3600


@overload
def several(given: str | Iterable[str]) -> tuple[str, ...]: ...


@overload
def several(given: StrPath | Iterable[StrPath]) -> tuple[StrPath, ...]: ...


def several(given: StrPath | Iterable[StrPath]) -> tuple[StrPath, ...]:
    """Return the items of a sequence as a tuple; a single string or path counts as one item.

    >>> several("ridge"), several(["ridge", "knn"])
    (('ridge',), ('ridge', 'knn'))
    """
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


def check_seed(seed: int) -> None:
    """Raise UsageError if `seed` is negative, because random number generators reject negative seeds."""
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, not {seed}")


def as_path(given: StrPath, what: str) -> Path:
    """Convert a user-supplied path to `Path`.

    Args:
        given: the path.
        what: what the path should point to, for the error message; for example "a model".

    Raises:
        UsageError: the path is empty, which would mean the current folder, or contains a NUL.
    """
    text = os.fspath(given)
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is not a valid path to {what}")
    return Path(text)


def check_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raise UsageError if `name` is not in `known`; the message suggests the closest match.

    >>> check_name("device", "cudo", ["cpu", "cuda"])
    Traceback (most recent call last):
        ...
    leepfrog.errors.UsageError: device 'cudo' is unknown; did you mean cuda? (one of cpu, cuda)
    """
    names = list(known)
    if name not in names:
        raise UsageError(f"{what} {name!r} is unknown; {did_you_mean(name, names)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown name: the closest match, and the first MOST_NAMES known names."""
    names = list(known)
    if not names:
        return "none are available"
    near = nearest(name, names)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    listed = f"one of {', '.join(names[:MOST_NAMES])}{more}"
    return f"did you mean {near}? ({listed})" if near else listed


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to a misspelled one, or None if no name is similar."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.7)  # strict: GPU must not match CPU
    return by_lower[matches[0]] if matches else None
