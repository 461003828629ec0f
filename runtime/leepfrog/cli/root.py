"""The group of all commands: checks of the command line as a whole, before any command runs."""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

from typer.core import TyperGroup

from leepfrog.errors import UsageError


class Root(TyperGroup):
    """Refuses empty arguments, and explains arguments that a shell made of a wildcard."""

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
            found = re.fullmatch(r"Got unexpected extra argument\w*(?:\(s\))? \((.*)\)", message)
            words = found[1].split() if found else []
            if words and os.path.exists(words[0]):
                error.message = f"{message}; put wildcards in quotes, so that the shell leaves them: -m 'DIR/*.onnx'"  # type: ignore[attr-defined]
            raise
