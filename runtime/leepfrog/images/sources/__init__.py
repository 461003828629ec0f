"""Sources of labelled images, one file each.

A source is a module beside this one that holds a `SOURCE`, or an entry point of another package in the group
`leepfrog.images` that points to a `Source`.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from importlib import metadata

from leepfrog.errors import MachineError, one_line
from leepfrog.images.sources.base import Source

GROUP = "leepfrog.images"
"""The entry points of other packages' sources."""


@functools.cache
def sources() -> tuple[Source, ...]:
    """All sources, in the order in which they are asked.

    Raises:
        MachineError: another package's is broken.

    >>> [source.takes for source in sources()][-1]
    'a folder'
    """
    modules = {module.name for module in pkgutil.iter_modules(__path__)} - {"base"}
    named = [(name, importlib.import_module(f"{__name__}.{name}").SOURCE) for name in modules]
    named += [(point.name, _loaded(point)) for point in metadata.entry_points(group=GROUP)]
    return tuple(source for _, source in sorted(named, key=lambda pair: (-pair[1].precedence, pair[0])))


def _loaded(point: metadata.EntryPoint) -> Source:
    try:
        source = point.load()
    except Exception as error:  # another package's
        raise MachineError(f"images {point.name}: {point.value} cannot be imported: {one_line(error)}") from None
    if not isinstance(source, Source):
        raise MachineError(f"images {point.name}: {point.value} is not a leepfrog Source")
    return source
