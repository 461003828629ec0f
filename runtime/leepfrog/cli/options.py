"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from leepfrog.cli.completion import complete_models
from leepfrog.errors import UsageError
from leepfrog.files import check_writable


def check_output(path: Path | None) -> Path | None:
    """Option callback for output files: raise MachineError before any work if the file cannot be written."""
    if path is not None:
        check_writable(path)
    return path


def _takes_all(path: Path) -> bool:
    """Return whether a path is a pipe or device, which can take several outputs one after another."""
    return path.exists() and not path.is_file()


def check_distinct(*outputs: Path | None) -> None:
    """Raise UsageError if two outputs are the same file, since the second would replace the first."""
    places = [os.path.realpath(path) for path in outputs if path is not None and not _takes_all(path)]
    twice = next((path for path in places if places.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"two outputs are the same file, {twice}; use a separate file for each")


OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the result to this file instead of stdout.", callback=check_output),
]
DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Folder with one subfolder per class, or a CSV with the columns file_name,label."
    ),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        "-m",
        help="Names, wildcards, .onnx files or folders; comma-separated or repeated (default: all exported models).",
        autocompletion=complete_models,
    ),
]
ModelFilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        "-m",
        help="Names, files or folders to search for its models (default: the models folder).",
        autocompletion=complete_models,
    ),
]
CachedOption = Annotated[
    bool, typer.Option("--cached", help="Use cached outputs instead of running the models on all images again.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Suppress progress and remarks on stderr.")]


def either(names: Iterable[str]) -> str:
    """Return names as an enumeration for help texts.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}"


def split_commas(values: list[str] | None) -> list[str]:
    """Split `-m a,b -m c` into three names, but no path that exists. Raise UsageError if a name is empty."""
    chosen: list[str] = []
    for value in values or []:
        # os.path.exists returns False for lists too long to be a file name, where Path.exists raises an error.
        parts = [value] if os.path.exists(value) else [part.strip() for part in value.split(",")]
        if "" in parts:
            raise UsageError(f"empty name in {value!r}")
        chosen += parts
    return chosen
