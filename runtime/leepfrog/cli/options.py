"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from leepfrog.cli.completion import complete_models
from leepfrog.cli.formats import Format
from leepfrog.errors import UsageError
from leepfrog.files import check_writable


def check_output(path: Path | None) -> Path | None:
    """The callback of an option that names a file to write: MachineError before any work, where it cannot be."""
    if path is not None:
        check_writable(path)
    return path


def _takes_all(path: Path) -> bool:
    """Whether it is a pipe or device, which one output may follow another into."""
    return path.exists() and not path.is_file()


def check_distinct(*outputs: Path | None) -> None:
    """UsageError where two outputs are one file, of which the second would replace the first."""
    places = [os.path.realpath(path) for path in outputs if path is not None and not _takes_all(path)]
    twice = next((path for path in places if places.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"two outputs are the same file, {twice}; give each a file of its own")


FormatOption = Annotated[
    Format | None, typer.Option("--format", help="How to write the result (default: by the ending of -o, else table).")
]
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
        help="Names, wildcards, .onnx files or folders, separated by commas or repeated (default: all exported).",
        autocompletion=complete_models,
    ),
]
ModelFilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        "-m",
        help="Names, files or folders to find its models among (default: the models folder).",
        autocompletion=complete_models,
    ),
]
CachedOption = Annotated[
    bool, typer.Option("--cached", help="Use cached outputs; by default, models run on all images again.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.")]


def either(names: Iterable[str]) -> str:
    """Names for a help text.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}"


def split_commas(values: list[str] | None) -> list[str]:
    """`-m a,b -m c` as a list of three; a path that exists is never split. UsageError where one is empty."""
    chosen: list[str] = []
    for value in values or []:
        # os.path.exists, unlike Path.exists, takes a list too long to be a file name for what it is.
        parts = [value] if os.path.exists(value) else [part.strip() for part in value.split(",")]
        if "" in parts:
            raise UsageError(f"an empty name in {value!r}")
        chosen += parts
    return chosen
