"""The scoring models on this machine, and what a user may call them."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from leepfrog import paths
from leepfrog.errors import ModelError, UsageError
from leepfrog.files import printable
from leepfrog.inference.metadata import PROBE_SUFFIX
from leepfrog.inference.model import ModelFile

# Digits of a file's hash that follow the name of a model where another has the same name.
MARK = 12


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
            there was exported from (`timm:resnet18`), an `.onnx` file, or a folder of them. Empty: all that is
            exported.

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
    return told_apart(list(chosen.values()))


def told_apart(models: Sequence[ModelFile]) -> list[ModelFile]:
    """Models whose names differ, for results that are looked up by name: equal ones get a part of the file's hash."""
    shared = {name for name, n in Counter(model.name for model in models).items() if n > 1}
    return [
        dataclasses.replace(model, mark=f"@{model.sha256[:MARK]}") if model.name in shared else model
        for model in models
    ]


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
        elif path.suffix == ".onnx" and ":" not in text:
            yield path
        elif from_source := [path for path in local.values() if _source(path) == _without_folder(text)]:
            yield from from_source
        else:
            known = ", ".join(local) or "none yet"
            how = f"leepfrog export {text}" if ":" in text else f"leepfrog zoo pull {text}"
            raise UsageError(f"no exported model is called {text!r} (there are: {known}); to add it: {how}")


def _without_folder(source: str) -> str:
    """An exported file remembers the name of the file it was made from, not the folder, which is nobody's business."""
    scheme, _, rest = source.partition(":")
    return f"onnx:{printable(Path(rest).name)}" if scheme == "onnx" else source


def _source(path: Path) -> str:
    try:
        return ModelFile.read(path).metadata.source
    except ModelError:
        return ""
