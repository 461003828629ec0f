"""Sources of labelled images, one module each.

A source is a module of this package that defines `SOURCE`, or another package's entry point in the group
`leepfrog.images` that refers to a `Source`.
"""

from __future__ import annotations

from leepfrog.images.sources.base import Source
from leepfrog.plugins import Plugins

GROUP = "leepfrog.images"
"""Entry-point group for sources of other packages."""

SOURCES = Plugins(__name__, "SOURCE", GROUP, Source, "images")


def sources() -> list[Source]:
    """Return all sources in the order in which they are tried.

    Raises:
        MachineError: a source of another package is broken.

    >>> [source.takes for source in sources()][-1]
    'a folder'
    """
    named = [(SOURCES.named(name), name) for name in SOURCES.names()]
    return [source for source, _ in sorted(named, key=lambda pair: (-pair[0].precedence, pair[1]))]
