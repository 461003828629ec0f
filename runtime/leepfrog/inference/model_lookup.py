"""Find scoring models on this machine by name, wildcard, source or path."""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from leepfrog import paths
from leepfrog.arguments import StrPath, did_you_mean, nearest, several
from leepfrog.errors import LeepfrogError, MachineError, ModelError, UsageError
from leepfrog.files import listed, printable
from leepfrog.images.dataset import ImageSet
from leepfrog.images.find import open_data
from leepfrog.inference.choices import PROBE_SUFFIX
from leepfrog.inference.header import read_header
from leepfrog.inference.load import read_bytes
from leepfrog.inference.metadata import ModelMetadata
from leepfrog.inference.model import ModelFile

_WILDCARDS = set("*?[")
# Number of digits of the file's hash that are appended to a name shared by several models.
MARK = 12


def exported() -> dict[str, Path]:
    """Return the model files in the models folder, by file name without `.onnx`.

    Raises:
        MachineError: the folder cannot be read.
    """
    folder = paths.models()
    try:
        return {path.stem: path for path in _scoring_models(folder)}
    except OSError as error:
        raise MachineError(
            f"{printable(folder)}: the models folder cannot be read: {error.strerror or error}; make it readable, or "
            "set LEEPFROG_HOME to another folder"
        ) from None


def _scoring_models(folder: Path) -> list[Path]:
    """Return the scoring models in a folder, excluding probes; OSError if it cannot be read."""
    return [path for path in listed(folder, ".onnx") if not path.name.endswith(PROBE_SUFFIX)]


def find_models(wanted: StrPath | Sequence[StrPath]) -> list[ModelFile]:
    """Find scoring models by name, wildcard, source or path, without duplicates, in the order given.

    Args:
        wanted: one or more of: a name in the models folder (`mobilenet_v2`), a wildcard for such names
            (`efficientnet*`), the source of an exported model (`timm:resnet18`), an `.onnx` file, a folder of `.onnx`
            files, or a wildcard for files or folders (`out/l*.onnx`). If empty, all exported models.

    Raises:
        UsageError: no model matches an entry.
        ModelError: a file is broken or was not exported by leepfrog.
        MachineError: the models folder cannot be read.
    """
    wanted, local = several(wanted), exported()
    if not wanted and not local:
        raise UsageError(
            "no models have been exported yet; leepfrog zoo pull fetches the starter set, leepfrog export adds your own"
        )
    chosen: dict[str, ModelFile] = {}
    for path in _paths(wanted, local) if wanted else local.values():
        model = ModelFile.read(path)
        chosen.setdefault(model.sha256, model)
    return with_distinct_names(list(chosen.values()))


def with_distinct_names(models: Sequence[ModelFile]) -> list[ModelFile]:
    """Make names unique by appending part of the file's hash to duplicates, as results are looked up by name."""
    shared = {name for name, n in Counter(model.name for model in models).items() if n > 1}
    return [
        dataclasses.replace(model, mark=f"@{model.sha256[:MARK]}") if model.name in shared else model
        for model in models
    ]


def find_inputs(data: ImageSet | StrPath, models: StrPath | Sequence[StrPath]) -> tuple[ImageSet, list[ModelFile]]:
    """Find labelled images and models; if both are missing, one error reports both.

    Raises:
        DataSetError: see `find_images`.
        UsageError, ModelError, MachineError: see `find_models`.
    """
    lacking: LeepfrogError | None = None
    chosen: list[ModelFile] = []
    try:
        chosen = find_models(models)
    except LeepfrogError as error:
        lacking = error
    try:
        images = open_data(data)
    except LeepfrogError as error:
        raise type(error)(f"{error}; also, {lacking}") if lacking else error from None
    if lacking is not None:
        raise lacking
    return images, chosen


def _paths(wanted: Sequence[StrPath], local: dict[str, Path]) -> Iterable[Path]:
    for entry in wanted:
        text, path = os.fspath(entry), Path(entry)
        if os.path.isdir(text):
            try:
                inside = _scoring_models(path)
            except OSError as error:
                raise ModelError(f"{printable(path)}: cannot be read: {error.strerror or error}") from None
            if not inside:
                raise UsageError(f"{printable(path)}: no .onnx files in this folder")
            yield from inside
        elif matching := fnmatch.filter(local, text):
            yield from (local[name] for name in matching)
        elif path.suffix == ".onnx" and ":" not in text and (os.path.lexists(text) or not _WILDCARDS & set(text)):
            yield path
        elif _WILDCARDS & set(text) and ":" not in text and (path.suffix == ".onnx" or len(path.parts) > 1):
            yield from _matching(text)
        elif from_source := _from_source(text, local):
            yield from from_source
        elif path.is_file():
            raise UsageError(f"{printable(path)} is not an .onnx file; models must be .onnx files")
        else:
            raise UsageError(f"no exported model is called {text!r}, and no file or folder; {_how_to_get(text, local)}")


def _how_to_get(name: str, local: Iterable[str]) -> str:
    """Return a hint for an unknown name, which may be misspelt, a model of the zoo, or a source."""
    if ":" in name:
        return f"to add it: leepfrog export {name}"
    if near := nearest(name, local):
        return f"did you mean {near}?"
    from leepfrog_exporter.zoo import load

    if near := nearest(name, load()):
        meant = "" if near == name else f"did you mean the zoo's {near}? "
        return f"{meant}to add it: leepfrog zoo pull {near}"
    return f"{did_you_mean(name, local)}; leepfrog zoo list shows the models that can be added"


def _matching(pattern: str) -> list[Path]:
    """Return the model files that a wildcard matches, and the model files in folders that it matches."""
    paths = [Path(name) for name in sorted(glob.glob(os.path.expanduser(pattern), recursive=True))]
    files = [path for path in paths if path.suffix == ".onnx" and not path.name.endswith(PROBE_SUFFIX)]
    files += [path for folder in paths if folder.is_dir() for path in _scoring_models(folder)]
    if not files:
        raise UsageError(f"no .onnx file matches {pattern!r}")
    return files


def _without_folder(source: str) -> str:
    """Return a source without its folder: for privacy, exported files record only the name of the source file."""
    scheme, _, rest = source.partition(":")
    return f"onnx:{printable(Path(rest).name)}" if scheme == "onnx" else source


def _from_source(source: str, local: dict[str, Path]) -> list[Path]:
    """Return the models exported from a source."""
    return [path for path in local.values() if _source(path) == _without_folder(source)] if ":" in source else []


def _source(path: Path) -> str:
    """Return the source recorded in a file's metadata; "" if it cannot be read."""
    try:
        return ModelMetadata.from_props(read_header(memoryview(read_bytes(path))).metadata).source
    except ModelError:
        return ""
