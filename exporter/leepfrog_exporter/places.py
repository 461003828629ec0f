"""Where exported models are written, and what may be replaced there."""

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

LONGEST_NAME = 200  # in bytes; endings and temporary files' names still fit in the usual 255


def path_of(output: StrPath | None, name: str) -> Path:
    """Where a model of this name is written; UsageError where it cannot be a file's name."""
    folder = paths.models() if output is None else as_path(output, "a model")
    if output is not None and folder.suffix == ".onnx":
        if folder.name.startswith(".") or folder.name.endswith(PROBE_SUFFIX):
            raise UsageError(f"{printable(folder)}: hidden files and {PROBE_SUFFIX} are not found as models; rename it")
        if folder.stem != name and folder.parent.absolute() == paths.models().absolute():
            raise UsageError(
                f"{printable(folder)}: models in this folder are found by their file name; add --name "
                f"{printable(folder.stem)}, or leave --output out"
            )
        return folder
    _check_name(name)
    return folder / f"{name}.onnx"


def _check_name(name: str) -> None:
    """UsageError where a model of this name could not be written, or not be found again."""
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith((".", "-")) or len(os.fsencode(name)) > LONGEST_NAME:
        raise UsageError(
            f"name {printable(name)[:80]!r} cannot be a file name; up to {LONGEST_NAME} letters, digits and . _ + - "
            "only, no . or - first (see --name)"
        )
    if name.lower().endswith((".onnx", PROBE_SUFFIX.removesuffix(".onnx"))):
        raise UsageError(f"name {name!r} ends like a file of leepfrog's own; leave the ending out (see --name)")


def refuse_to_replace_another(path: Path, metadata: ModelMetadata, force: bool) -> None:
    """UsageError where a file is there that was made from something else, unless `force`."""
    if force or not path.exists():
        return
    try:
        there = ModelFile.read(path).metadata
    except LeepfrogError:
        raise UsageError(
            f"{printable(path)} is there already and no scoring model; use --force to replace it"
        ) from None
    made_from = printable(there.source)
    # Of an ONNX file only the name is remembered, and many are called model.onnx; so the content has to agree as well.
    if metadata.source == there.source and metadata.source.startswith("onnx:"):
        if metadata.weights_sha256 == there.weights_sha256:
            return
        made_from = f"another {made_from}"
    elif metadata.source == there.source:
        return
    raise UsageError(f"{printable(path)} is there already, from {made_from}; choose another --name, or --force")
