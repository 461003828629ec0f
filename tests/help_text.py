"""Generated parts of the README: the table of scores and the help of all commands.

Update both with `python tests/help_text.py --write`.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from leepfrog.cli.app import app
from leepfrog.scoring.registry import SCORES

README = Path(__file__).parents[1] / "README.md"
WIDTH = 100


def commands() -> Iterator[tuple[str, Any]]:
    """Yield name and command of every command in the order of `leepfrog --help`, for example "zoo list"."""
    yield from _below(typer.main.get_command(app), ())


def _below(group: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


def help_of(name: str, command: Any) -> str:
    """Return the output of `leepfrog NAME --help` on a terminal of WIDTH columns."""
    settings = {"help_option_names": ["-h", "--help"], "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = command.context_class(command, info_name=f"leepfrog {name}", **settings)
    return str(command.get_help(context)).rstrip() + "\n"


def scores() -> str:
    """Return the table of all scores in Markdown."""
    inputs = {"probs": "predictions", "features": "features"}
    rows = [f"| `{score.name}` | {inputs[score.reads]} | {score.title} |\n" for score in SCORES.values()]
    return "\n| score | reads | in a sentence |\n|---|---|---|\n" + "".join(rows) + "\n"


def section() -> str:
    """Return the help of all commands as collapsible sections."""
    parts = []
    for name, command in commands():
        text = help_of(name, command)
        first = html.escape(command.get_short_help_str(limit=200), quote=False)
        parts.append(
            f"<details>\n<summary><code>leepfrog {name}</code>: {first}</summary>\n\n```text\n{text}```\n\n</details>\n"
        )
    return "\n" + "\n".join(parts) + "\n"


def replaced(text: str) -> str:
    """Return the text of the README with both parts updated."""
    for name, content in (("scores", scores()), ("commands", section())):
        start, end = f"<!-- all {name}: by tests/help_text.py -->\n", f"<!-- end of all {name} -->\n"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = before + start + content + end + after
    return text


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"python {sys.argv[0]} --write")
    README.write_text(replaced(README.read_text()))
