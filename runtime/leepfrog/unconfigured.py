"""Imports of packages that would take settings from the current folder, which may hold a stranger's files."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from leepfrog.errors import MachineError, one_line

# Numba's CACHE_DIR makes it unpickle files from there; matplotlib's settings can run LaTeX.
SETTINGS = {"numba": ".numba_config.yaml", "matplotlib": "matplotlibrc"}
# Two threads that exchange `os.path.exists` at once could leave it exchanged.
_HIDING = threading.Lock()


def import_unconfigured(name: str) -> ModuleType:
    """Import "numba" or "matplotlib"; settings in the current folder are ignored.

    Where the package has been imported before, by a program that uses leepfrog, its settings are that program's.

    Raises:
        ImportError: it is not installed, or broken.
        MachineError: it refuses its settings, which come from environment variables or the user's own files.
    """
    if name in sys.modules:
        return sys.modules[name]
    with _HIDING, _hidden(SETTINGS[name]):
        try:
            package = importlib.import_module(name)
        except (ImportError, OSError, MemoryError):
            raise
        except Exception as error:
            reason = one_line(error, 200)
            raise MachineError(
                f"{name} does not start: {reason} (check environment variables that begin with {name.upper()}_, MPL "
                "and your settings of it)"
            ) from None
    if name == "numba":  # it looks for its file again whenever it compiles
        package.core.config._config_fname = os.devnull  # noqa: SLF001
    return package


@contextlib.contextmanager
def _hidden(file: str) -> Iterator[None]:
    """Let `os.path.exists` deny one file of the current folder: how both packages look for theirs."""
    exists = os.path.exists

    def exists_elsewhere(path: Any) -> bool:
        return path != file and exists(path)

    os.path.exists = exists_elsewhere
    try:
        yield
    finally:
        os.path.exists = exists
