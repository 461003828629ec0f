"""Fake third-party package whose entry point extends leepfrog."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from importlib import metadata
from typing import Any
from unittest import mock

from leepfrog.plugins import Plugins


@contextlib.contextmanager
def other_package(plugins: Plugins[Any], group: str, name: str, attribute: str) -> Iterator[types.ModuleType]:
    """Provide a module `their` whose `attribute` is the entry point `name` of a group; hide all other entry points."""
    their = types.ModuleType("their")
    points = metadata.EntryPoints([metadata.EntryPoint(name, f"their:{attribute}", group)])
    with mock.patch.dict(sys.modules, their=their), mock.patch.object(metadata, "entry_points", points.select):
        plugins.forget()
        yield their
    plugins.forget()
