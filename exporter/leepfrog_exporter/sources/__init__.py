"""Model sources, one module per scheme: `SCHEME:REST` is handled by the module named SCHEME.

A source defines `TAKES`, the placeholder after the colon in help texts ("NAME"), and `draft(rest, options, progress)`,
which returns a `Draft`: a graph from one image input to class outputs, its reference and its metadata. A source of
networks whose weights the zoo may replace also defines `build(name, *, pretrained)`.
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
    """Interface of the modules in this package."""

    TAKES: str

    def draft(self, rest: str, options: ExportOptions, progress: Progress) -> Draft:
        """Return the draft of the model named after the colon."""


def schemes() -> tuple[str, ...]:
    """Return the names of all sources, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def source_of(scheme: str) -> Source:
    """Return the source with this name; raise UsageError if there is none."""
    check_name("source", scheme, schemes())
    return cast(Source, importlib.import_module(f"{__name__}.{scheme}"))


def builder(library: str) -> Callable[..., Network]:
    """Return the `build` function of a source, which takes a network's name and `pretrained`."""
    build: Callable[..., Network] = importlib.import_module(f"{__name__}.{library}").build
    return build
