"""Paths of exported models, and protection against replacing other models."""

from __future__ import annotations

import os
import re
from pathlib import Path

from leepfrog import paths
from leepfrog.arguments import StrPath, as_path
from leepfrog.errors import LeepfrogError, UsageError
from leepfrog.files import printable
from leepfrog.inference.choices import PROBE_SUFFIX
from leepfrog.inference.metadata import ModelMetadata
from leepfrog.inference.model import ModelFile

LONGEST_NAME = 200  # bytes; leaves room for suffixes and temporary names within the usual limit of 255


def path_of(output: StrPath | None, name: str) -> Path:
    """Return the path for a model of this name; raise UsageError if the name cannot be used as a file name."""
    folder = paths.models() if output is None else as_path(output, "a model")
    if output is not None and folder.suffix == ".onnx":
        if folder.name.startswith(".") or folder.name.endswith(PROBE_SUFFIX):
            raise UsageError(f"{printable(folder)}: hidden files and {PROBE_SUFFIX} files are not models; rename it")
        if folder.stem != name and folder.parent.absolute() == paths.models().absolute():
            raise UsageError(
                f"{printable(folder)}: models in this folder are found by their file name; add --name "
                f"{printable(folder.stem)}, or omit --output"
            )
        return folder
    _check_name(name)
    return folder / f"{name}.onnx"


def _check_name(name: str) -> None:
    """Raise UsageError if a model of this name could not be written, or not be found afterwards."""
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith((".", "-")) or len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(
            f"name {printable(name)[:80]!r} cannot be a file name; up to {LONGEST_NAME} letters, digits and . _ + - "
            "only, not starting with . or - (see --name)"
        )
    if name.lower().endswith((".onnx", PROBE_SUFFIX.removesuffix(".onnx"))):
        raise UsageError(f"name {name!r} ends with a suffix reserved by leepfrog; omit the suffix (see --name)")


def refuse_to_replace_another(path: Path, metadata: ModelMetadata, force: bool) -> None:
    """Raise UsageError if the path holds a file exported from another source, unless `force` is set."""
    if force or not path.exists():
        return
    try:
        there = ModelFile.read(path).metadata
    except LeepfrogError:
        raise UsageError(
            f"{printable(path)} already exists and is not a scoring model; use --force to replace it"
        ) from None
    made_from = printable(there.source)
    # Only the name of an ONNX file is stored, and many are called model.onnx, so the content must match as well.
    if metadata.source == there.source and metadata.source.startswith("onnx:"):
        if metadata.weights_sha256 == there.weights_sha256:
            return
        made_from = f"another {made_from}"
    elif metadata.source == there.source:
        return
    raise UsageError(f"{printable(path)} already exists, exported from {made_from}; use another --name, or --force")
