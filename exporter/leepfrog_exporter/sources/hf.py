"""`hf:ORG/NAME` or `hf:ORG/NAME/FILE.onnx`: an ONNX file in a repository of the Hugging Face hub."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import onnx
from leepfrog.errors import ModelError, UsageError
from leepfrog.progress import Progress
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from leepfrog_exporter.declared.transformers import CONFIG, PREPROCESSOR, name_of
from leepfrog_exporter.draft import Draft, ExportOptions
from leepfrog_exporter.graph.read import tensors_of
from leepfrog_exporter.hub import asked_once, downloaded, near_file
from leepfrog_exporter.sources.onnx import draft_of_file

TAKES = "ORG/NAME[/FILE.onnx]"

# Where onnx-community and Optimum keep the float32 graph.
USUAL_FILES = ("onnx/model.onnx", "model.onnx")
CARD = "README.md"


def draft(rest: str, options: ExportOptions, progress: Progress) -> Draft:
    """Return the draft of a repository's ONNX file, with the preprocessing and labels of its JSON files.

    Raises:
        UsageError: the repository or the file does not exist.
        MachineError: the hub cannot be reached, or the repository may not be read.
        ModelError: see `leepfrog_exporter.sources.onnx.draft`.
    """
    repository, file = _parsed(rest)
    with tempfile.TemporaryDirectory(prefix="leepfrog-hub-") as folder, asked_once():
        file, path = _staged(repository, file, Path(folder))
        name = options.name or name_of(path, repository)
        try:
            return draft_of_file(path, options, progress, f"hf:{repository}/{file}", name, _license(repository))
        except (ModelError, UsageError) as error:
            raise type(error)(str(error).replace(str(path), f"hf:{repository}/{file}")) from None


def _parsed(rest: str) -> tuple[str, str]:
    """Return the repository and the file, "" if none is named."""
    parts = rest.split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise UsageError(f"source 'hf:{rest}' names no repository; expected hf:{TAKES}")
    if len(parts) == 3 and not parts[2].endswith(".onnx"):
        raise UsageError(f"source 'hf:{rest}': {parts[2]!r} is not an ONNX file; expected hf:{TAKES}")
    return "/".join(parts[:2]), parts[2] if len(parts) == 3 else ""


def _staged(repository: str, file: str, folder: Path) -> tuple[str, Path]:
    """Put the graph, its external data and the JSON files into a folder; the hub's cache consists of links.

    Returns:
        The name of the graph in the repository, and its path.
    """
    for wanted in [file] if file else USUAL_FILES:
        if (found := downloaded(repository, wanted)) is not None:
            break
    else:
        wanted = file or " or ".join(USUAL_FILES)
        raise UsageError(f"hf:{repository} has no {wanted}; {near_file(repository, file or USUAL_FILES[0])}")
    path = _put(found, folder / wanted)
    above = PurePosixPath(wanted).parent
    for location in _external(path):
        if (data := downloaded(repository, str(above / location))) is not None:
            _put(data, path.parent / location)
    # As in a local folder, the JSON files may be beside the graph or, if that is in a subfolder, above it.
    for name in (CONFIG, PREPROCESSOR):
        if (found := downloaded(repository, name)) is not None:
            _put(found, folder / name)
    return wanted, path


def _put(source: Path, target: Path) -> Path:
    """Copy a file; onnx refuses external data that are links, even hard ones."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


def _external(path: Path) -> set[str]:
    """Return the names of the files with a graph's external data."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # reading it again explains what is wrong
        return set()
    names = {ExternalDataInfo(tensor).location for tensor in tensors_of(model) if uses_external_data(tensor)}
    if bad := [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]:
        raise ModelError(f"its external data {bad[0]!r} is outside of its folder")
    return names


def _license(repository: str) -> str:
    """Return the license in the head of the repository's card; "" if there is none."""
    card = downloaded(repository, CARD)
    head = card.read_text("utf-8", "replace")[:10_000] if card is not None else ""
    found = re.search(r"\A---\s*\n.*?^license: *([\w.+-]+)", head, re.DOTALL | re.MULTILINE)
    return found.group(1) if found else ""
