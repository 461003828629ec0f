"""Options shared by commands that print a result: its format, file, columns and width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from leepfrog.cli.formats import Format, as_text, chosen_format
from leepfrog.cli.layout import PLAIN, Layout
from leepfrog.cli.option_group import option_group
from leepfrog.cli.options import OutputOption, QuietOption, split_commas
from leepfrog.cli.output import emit
from leepfrog.results import Result
from leepfrog.tables import Part

FORMAT = Annotated[
    Format | None, typer.Option("--format", help="Output format (default: by the extension of -o, else table).")
]
COLUMNS = Annotated[
    list[str] | None,
    typer.Option("--columns", help="Columns of the table, separated by commas, e.g. model,accuracy,loss."),
]
WIDE = Annotated[bool, typer.Option("--wide", help="Show all columns, even if the terminal is narrower.")]


@dataclasses.dataclass(frozen=True)
class ResultOptions:
    """How and where a command prints its result.

    Attributes:
        format: format of the result.
        output: file to write; None for stdout.
        layout: layout of tables.
        quiet: whether to suppress remarks.
    """

    format: Format
    output: Path | None = None
    layout: Layout = PLAIN
    quiet: bool = False

    def text(self, result: Result, parts: Sequence[Part], records: Sequence[Mapping[str, object]] | None = None) -> str:
        """Render a result; see `as_text`."""
        return as_text(self.format, result, parts, self.layout, records)

    def emit(self, text: str, quiet: bool = False) -> None:
        """Write a rendered result to the file or to stdout."""
        emit(text, self.output, quiet or self.quiet, escaped=self.layout.colors)


def result_options(with_quiet: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds these options to a command and passes them to its parameter `out`.

    Args:
        with_quiet: whether to add --quiet as well, for commands without run options.
    """

    def made(
        *, format_: Format | None, output: Path | None, columns: list[str] | None, wide: bool, quiet: bool = False
    ) -> ResultOptions:
        layout = Layout.of(output, wide, split_commas(columns))
        return ResultOptions(chosen_format(format_, output), output, layout, quiet)

    options: dict[str, tuple[Any, Any]] = {
        "format_": (FORMAT, None),
        "output": (OutputOption, None),
        "columns": (COLUMNS, None),
        "wide": (WIDE, False),
    }
    return option_group("out", options | ({"quiet": (QuietOption, False)} if with_quiet else {}), made)
