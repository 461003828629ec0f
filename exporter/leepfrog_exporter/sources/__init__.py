"""Sources of models, one file each: `SCHEME:REST` is given to the module of that name.

A source holds `TAKES`, what stands after the colon in help ("NAME"), and `draft(rest, options, progress)`, which gives
a graph from one image input to classes, what it is compared with, and what is known of it (`Draft`). The export does
the rest. A source of networks whose weights the zoo may replace also holds `build(name, *, pretrained)`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from leepfrog.arguments import check_name

if TYPE_CHECKING:
    from leepfrog.progress import Progress

    from leepfrog_exporter.draft import Draft, ExportOptions
    from leepfrog_exporter.networks.network import Network


class Source(Protocol):
    """What a module of this package holds."""

    TAKES: str

    def draft(self, rest: str, options: ExportOptions, progress: Progress) -> Draft:
        """The graph of what is named after the colon, and what is known of it."""


def schemes() -> tuple[str, ...]:
    """The names of all sources, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def source_of(scheme: str) -> Source:
    """A source by its name; UsageError where there is none."""
    check_name("source", scheme, schemes())
    return cast(Source, importlib.import_module(f"{__name__}.{scheme}"))


def builder(library: str) -> Callable[..., Network]:
    """The function of a source that builds a network: of its name, and whether `pretrained`."""
    build: Callable[..., Network] = importlib.import_module(f"{__name__}.{library}").build
    return build
