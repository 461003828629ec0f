"""The README's section on all commands, made of their --help. To write it anew: python tests/help_text.py --write"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from leepfrog.cli.app import app

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- all commands: by tests/help_text.py -->\n", "<!-- end of all commands -->\n"
WIDTH = 100


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, in the order of `leepfrog --help`, by what follows `leepfrog` in a call."""
    yield from _below(typer.main.get_command(app), ())


def _below(group: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


def help_of(name: str, command: Any) -> str:
    """What `leepfrog NAME --help` prints on a terminal of WIDTH columns."""
    settings = {"help_option_names": ["-h", "--help"], "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = command.context_class(command, info_name=f"leepfrog {name}", **settings)
    return str(command.get_help(context)).rstrip() + "\n"


def section() -> str:
    """The commands' help, each to be unfolded."""
    parts = []
    for name, command in commands():
        told = help_of(name, command)
        first = html.escape(command.get_short_help_str(limit=200), quote=False)
        parts.append(
            f"<details>\n<summary><code>leepfrog {name}</code>: {first}</summary>\n\n```text\n{told}```\n\n</details>\n"
        )
    return "\n" + "\n".join(parts) + "\n"


def replaced(text: str) -> str:
    """The README with the section as it should be."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + section() + END + after


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"python {sys.argv[0]} --write")
    README.write_text(replaced(README.read_text()))
