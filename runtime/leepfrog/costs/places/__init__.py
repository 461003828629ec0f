"""Places that measure what models cost, one file each.

A place is a module beside this one that holds a `PLACE` (see `leepfrog.costs.places.base.Place`), or an entry point of
another package in the group `leepfrog.costs`. Its name is the module's or the entry point's name. Nothing here imports
NumPy: completion and help read the names.
"""

from __future__ import annotations

import functools

from leepfrog.costs.places.base import Place
from leepfrog.plugins import Plugins

GROUP = "leepfrog.costs"
"""The entry points of other packages' places."""

DEFAULT = "here"

_PLACES = Plugins(__name__, "PLACE", GROUP, Place, "place")  # type: ignore[type-abstract]  # for isinstance


@functools.cache
def place_names() -> tuple[str, ...]:
    """The names of all places, the default first.

    >>> place_names()[0]
    'here'
    """
    return tuple(sorted(_PLACES.names(), key=lambda name: name != DEFAULT))


@functools.cache
def place_named(name: str) -> Place:
    """A place by its name.

    Raises:
        UsageError: no place has this name.
        MachineError: it comes from another package, which is broken.
    """
    return _PLACES.named(name)
