"""The group of all commands, which are imported when they are asked for, and checks of the command line as a whole."""

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
"""In the order of --help. Each is a module of this package, with a function of its name or a Typer called `app`."""


class Commands(Mapping[str, Any]):
    """Click's commands by name, each imported when it is looked up."""

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
    return command


class Root(TyperGroup):
    """Imports commands lazily, refuses empty arguments, and explains arguments that a shell made of a wildcard."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return list(self.commands)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            UsageError: an argument is empty. As a path it would mean the current folder.
        """
        for before, argument in zip(["", *args], args, strict=False):
            if not argument or re.fullmatch(r"--[\w-]+=", argument):
                where = argument or before
                after = f" after {shlex.quote(where)}" if where else ""
                raise UsageError(f"the command line has an empty argument{after}; is a variable of the shell not set?")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except Exception as error:  # click's own, which some versions of typer carry a copy of
            message = getattr(error, "message", "")
            match = re.fullmatch(r"Got unexpected extra argument\w*(?:\(s\))? \((.*)\)", message)
            words = match[1].split() if match else []
            if words and os.path.exists(words[0]):
                error.message = f"{message}; put wildcards in quotes, so that the shell leaves them: -m 'DIR/*.onnx'"  # type: ignore[attr-defined]
            raise
