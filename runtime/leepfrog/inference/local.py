"""The scoring models on this machine, and what a user may call them."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from leepfrog import paths
from leepfrog.errors import ModelError, UsageError
from leepfrog.files import printable
from leepfrog.inference.metadata import PROBE_SUFFIX
from leepfrog.inference.model import ModelFile

_WILDCARDS = set("*?[")


def exported() -> dict[str, Path]:
    """Model files in the models folder, by file name without `.onnx`."""
    return {path.stem: path for path in _scoring_models(paths.models())}


def _scoring_models(folder: Path) -> list[Path]:
    """The model files in a folder that are no probes."""
    return [path for path in sorted(folder.glob("*.onnx")) if not path.name.endswith(PROBE_SUFFIX)]


def find_models(wanted: Sequence[str | Path]) -> list[ModelFile]:
    """Scoring models by name, wildcard, source or path, each file once, in the order asked for.

    Args:
        wanted: each a name in the models folder (`mobilenet_v2`), a wildcard (`efficientnet*`), a source that a model
            there was exported from (`timm:resnet18`), an `.onnx` file, a folder of them, or a wildcard for either
            (`out/l*.onnx`). Empty: all that is exported.

    Raises:
        UsageError: nothing goes by that name.
        ModelError: a file is broken or not exported by leepfrog.
    """
    local = exported()
    if not wanted and not local:
        raise UsageError(
            "no models are exported yet: leepfrog zoo pull fetches the starter set, leepfrog export adds your own"
        )
    chosen: dict[str, ModelFile] = {}
    for path in _paths(wanted, local) if wanted else local.values():
        model = ModelFile.read(path)
        chosen.setdefault(model.sha256, model)
    return list(chosen.values())


def _paths(wanted: Sequence[str | Path], local: dict[str, Path]) -> Iterable[Path]:
    for entry in wanted:
        text, path = str(entry), Path(entry)
        if os.path.isdir(text):
            inside = _scoring_models(path)
            if not inside:
                raise UsageError(f"{printable(path)}: no .onnx files in this folder")
            yield from inside
        elif matching := fnmatch.filter(local, text):
            yield from (local[name] for name in matching)
        elif path.suffix == ".onnx" and ":" not in text and (os.path.lexists(text) or not _WILDCARDS & set(text)):
            yield path
        elif _WILDCARDS & set(text) and ":" not in text and (path.suffix == ".onnx" or len(path.parts) > 1):
            yield from _matching(text)
        elif from_source := [path for path in local.values() if _source(path) == _without_folder(text)]:
            yield from from_source
        else:
            known = ", ".join(local) or "none yet"
            how = f"leepfrog export {text}" if ":" in text else f"leepfrog zoo pull {text}"
            raise UsageError(f"no exported model is called {text!r} (there are: {known}); to add it: {how}")


def _matching(pattern: str) -> list[Path]:
    """The model files that a wildcard matches, and those in folders that it matches."""
    paths = [Path(found) for found in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]
    files = [path for path in paths if path.suffix == ".onnx" and not path.name.endswith(PROBE_SUFFIX)]
    files += [path for folder in paths if folder.is_dir() for path in _scoring_models(folder)]
    if not files:
        raise UsageError(f"no .onnx file matches {pattern!r}")
    return files


def _without_folder(source: str) -> str:
    """An exported file remembers the name of the file it was made from, not the folder, which is nobody's business."""
    scheme, _, rest = source.partition(":")
    return f"onnx:{printable(Path(rest).name)}" if scheme == "onnx" else source


def _source(path: Path) -> str:
    try:
        return ModelFile.read(path).metadata.source
    except ModelError:
        return ""
