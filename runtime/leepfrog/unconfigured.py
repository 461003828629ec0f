"""Imports of packages that would read settings from the current folder, which may contain untrusted files."""

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

# Settings files by package. Numba unpickles files from its CACHE_DIR; matplotlib's settings can run LaTeX.
SETTINGS = {"numba": ".numba_config.yaml", "matplotlib": "matplotlibrc"}
# Two threads that replace `os.path.exists` at the same time could leave it replaced.
_HIDING = threading.Lock()


def import_unconfigured(name: str) -> ModuleType:
    """Import "numba" or "matplotlib", ignoring settings in the current folder.

    If the program that uses leepfrog has already imported the package, that program's settings stay in effect.

    Raises:
        ImportError: the package is not installed, or is broken.
        MachineError: the package rejects its settings, from environment variables or from the user's own files.
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
                f"cannot import {name}: {reason} (check environment variables that start with {name.upper()}_ or MPL, "
                f"and your {name} settings)"
            ) from None
    if name == "numba":  # it reads its settings file again at every compilation
        package.core.config._config_fname = os.devnull  # noqa: SLF001
    return package


@contextlib.contextmanager
def _hidden(file: str) -> Iterator[None]:
    """Make `os.path.exists` hide one file of the current folder; both packages use it to find their settings."""
    exists = os.path.exists

    def exists_elsewhere(path: Any) -> bool:
        return path != file and exists(path)

    os.path.exists = exists_elsewhere
    try:
        yield
    finally:
        os.path.exists = exists
