"""Parsing of times, sizes and counts with units."""

from __future__ import annotations

import math
import re

from leepfrog.errors import UsageError

_UNITS = {
    "time": {"us": 1e-6, "ms": 1e-3, "s": 1.0},
    "count": {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9},
    "bytes": {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30},
}

_SHOWN = {
    "time": ("us", "ms", "s"),
    "count": ("k", "M", "G"),
    "bytes": ("B", "kB", "MB", "GB", "KiB", "MiB", "GiB"),
}
_EXAMPLES = {"time": "20ms", "count": "5M", "bytes": "10MB"}


def amount(text: str | None, kind: str, option: str) -> float | None:
    """Parse a number with a unit, such as "20ms" or "10MB", into seconds or bytes; "5M" into a number.

    Args:
        text: value of the option, None for no limit.
        kind: "time", "bytes" or "count", whose unit may be absent.
        option: name of the option, for the error message.

    Raises:
        UsageError: the number or the unit is invalid, or the amount is not positive and finite.
    """
    if text is None:
        return None
    units = _UNITS[kind]
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in units or not 0 < float(match[1]) < math.inf:
        listed = ", ".join(_SHOWN[kind])
        raise UsageError(
            f"{option} {text!r}: expected a positive number with a unit ({listed}), such as {_EXAMPLES[kind]}"
        )
    return float(match[1]) * units[match[2].lower()]
