"""Root command group: lazily imported commands and checks of the whole command line."""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from leepfrog.errors import UsageError

COMMANDS = (
    "demo", "rank", "bench", "check", "verify", "explain", "validate", "score", "embed", "distance", "export",
    "experts", "map", "schema", "doctor", "library", "zoo",
)  # fmt: skip
"""Command names in the order of --help. Each is a module here, with a function of that name or a Typer named `app`."""


class Commands(Mapping[str, Any]):
    """Mapping from names to Click commands, each imported on lookup."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@functools.cache
def _command(name: str) -> Any:
    module = importlib.import_module(f"leepfrog.cli.{name}")
    if hasattr(module, "app"):
        command: Any = typer.main.get_group(module.app)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command()(getattr(module, name))
        command = typer.main.get_command(app)
    command.name = name
    for each in (command, *getattr(command, "commands", {}).values()):
        # The whole first sentence; click would truncate it to one line.
        if each.help:  # Python's -OO drops docstrings
            each.short_help = " ".join(each.help.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."
    return command


class Root(TyperGroup):
    """Command group that imports lazily, rejects empty arguments and explains arguments from unquoted wildcards."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(self.commands)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            UsageError: an argument is empty; as a path it would mean the current folder.
        """
        for before, argument in zip(["", *args], args, strict=False):
            if not argument or re.fullmatch(r"--[\w-]+=", argument):
                where = argument or before
                after = f" after {shlex.quote(where)}" if where else ""
                raise UsageError(f"empty argument{after} on the command line; is a shell variable unset?")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the named command."""
        try:
            return super().invoke(ctx)
        except Exception as error:  # click's UsageError, of which some versions of typer vendor a copy
            message = getattr(error, "message", "")
            match = re.fullmatch(r"Got unexpected extra argument\w*(?:\(s\))? \((.*)\)", message)
            words = match[1].split() if match else []
            if words and os.path.exists(words[0]):
                error.message = f"{message}; quote wildcards, so that the shell does not expand them: -m 'DIR/*.onnx'"  # type: ignore[attr-defined]
            raise
