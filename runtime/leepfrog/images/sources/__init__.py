"""Sources of labelled images, one file each.

A source is a module beside this one that holds a `SOURCE`, or an entry point of another package in the group
`leepfrog.images` that points to a `Source`.
"""

from __future__ import annotations

from leepfrog.images.sources.base import Source
from leepfrog.plugins import Plugins

GROUP = "leepfrog.images"
"""The entry points of other packages' sources."""

SOURCES = Plugins(__name__, "SOURCE", GROUP, Source, "images")


def sources() -> list[Source]:
    """All sources, in the order in which they are asked.

    Raises:
        MachineError: another package's is broken.

    >>> [source.takes for source in sources()][-1]
    'a folder'
    """
    named = [(SOURCES.named(name), name) for name in SOURCES.names()]
    return [source for source, _ in sorted(named, key=lambda pair: (-pair[0].precedence, pair[1]))]
