"""Sources of labelled images, one file each.

A source is a module beside this one that holds a `SOURCE`, or an entry point of another package in the group
`leepfrog.images` that points to a `Source`.
"""

from __future__ import annotations

import functools

from leepfrog.images.sources.base import Source
from leepfrog.plugins import Plugins

GROUP = "leepfrog.images"
"""The entry points of other packages' sources."""

_SOURCES = Plugins(__name__, "SOURCE", GROUP, Source, "images")


@functools.cache
def sources() -> tuple[Source, ...]:
    """All sources, in the order in which they are asked.

    Raises:
        MachineError: another package's is broken.

    >>> [source.takes for source in sources()][-1]
    'a folder'
    """
    named = [(name, _SOURCES.named(name)) for name in _SOURCES.names()]
    return tuple(source for _, source in sorted(named, key=lambda pair: (-pair[1].precedence, pair[0])))
