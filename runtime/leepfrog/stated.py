"""Validation of values read from files: they must be of the right type, within range and printable, or ValueError.

Any file may be untrusted. All values read from files pass through here, so that no later code meets a number that
overflows, text that cannot be printed, or a size that exhausts memory.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from leepfrog.errors import UsageError
from leepfrog.files import LARGEST_TEXT, printable, read_regular

# The bounds leave room for the largest existing models: about 10^12 parameters and 10^15 multiply-adds.
MOST = 1 << 63
LONGEST_TEXT = 1 << 14
LONGEST_NAME = 1 << 10
DEEPEST = 64
# Maximum number of outputs per image, filters per network, and layers per network.
WIDEST, MOST_FILTERS, MOST_LAYERS = 1 << 20, 1 << 20, 1 << 14


def parsed(text: str | bytes) -> Any:
    """Parse JSON whose numbers are finite, with integers below 2^63 in magnitude, nested at most DEEPEST levels deep.

    Raises:
        ValueError: the text is not such JSON.
    """
    try:
        value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(value, 0)
    return value


def document(path: Path) -> Any:
    """Read and parse a regular file of UTF-8 JSON (see `parsed`).

    Raises:
        UsageError: the file cannot be read, is not UTF-8 or not such JSON; the message does not name the file.
    """
    try:
        return parsed(read_regular(path, LARGEST_TEXT).decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # not UTF-8, not JSON, nested too deeply, or a number out of range
        raise UsageError(f"is not JSON, or is truncated ({error!s:.100})") from None


def text(value: object, what: str, longest: int = LONGEST_TEXT) -> str:
    """Check that a value is text, and return it with unprintable characters escaped."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {shown(value)}, not text")
    if len(value) > longest:
        raise ValueError(f"{what} has {len(value):,} characters; the limit is {longest:,}")
    return printable(value)


def name(value: object, what: str) -> str:
    """Check that a value is non-empty text, short enough for a table."""
    if not (checked := text(value, what, LONGEST_NAME)):
        raise ValueError(f"{what} is empty")
    return checked


def truth(value: object, what: str) -> bool:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{what} is {shown(value)}, not true or false")
    return value


def whole(value: object, what: str, least: int = 0, most: int = MOST) -> int:
    """Check that a value is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what} is {shown(value)}, not a whole number from {least} to {most}")
    return value


def number(value: object, what: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Check that a value is a finite number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST <= value <= MOST:
        raise ValueError(f"{what} is {shown(value)}, not a number from -2^63 to 2^63")
    if not least <= value <= most:
        raise ValueError(f"{what} is {shown(value)}, not a number from {least:g} to {most:g}")
    return value


def cleaned(value: Any, what: str) -> Any:
    """Return JSON values with every text and key checked and escaped by `text`."""
    if isinstance(value, str):
        return text(value, what)
    if isinstance(value, list | tuple):
        return [cleaned(item, what) for item in value]
    if isinstance(value, dict):
        return {text(key, what): cleaned(item, f"{what}.{key[:20]}") for key, item in value.items()}
    return value


def shown(value: object) -> str:
    """Return a short one-line representation of a value, for error messages."""
    try:
        return printable(f"{value!r:.40}")
    except ValueError:  # an integer with more digits than Python converts to text
        return "a number that is too large"


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(value := int(digits)) >= MOST:
        raise ValueError("it contains a number beyond 2^63")
    return value


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError("it contains a number beyond 10^308")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"it contains {constant}")


def _check_depth(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, dict | list):
            _check_depth(item, depth + 1)
