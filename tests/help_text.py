"""Help of all commands, for tests and for the documentation site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from leepfrog.cli.app import app


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command that can be run, in the order of `leepfrog --help`, with the words that call it."""
    yield from _below(typer.main.get_command(app), ())


def _below(group: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


def help_of(name: str, command: Any, width: int) -> str:
    """Return what `leepfrog NAME --help` prints on a terminal of so many columns."""
    settings = {"help_option_names": ["-h", "--help"], "terminal_width": width, "max_content_width": width}
    context = command.context_class(command, info_name=f"leepfrog {name}", **settings)
    return str(command.get_help(context)).rstrip()
