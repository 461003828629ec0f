"""Results on stdout or in a file, in the format asked for; progress and remarks on stderr."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from leepfrog.errors import MachineError, UsageError


class Format(StrEnum):
    """How results are written."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


def chosen_format(wanted: Format | None, output: Path | None) -> Format:
    """The format asked for, else what the output file's ending says, else a table; UsageError of an unknown ending."""
    if wanted is not None:
        return wanted
    if output is None or output.suffix in ("", ".txt"):
        return Format.table
    try:
        return Format(output.suffix.removeprefix("."))
    except ValueError:
        known = ", ".join(f".{f.value}" for f in Format if f is not Format.table)
        raise UsageError(f"-o {output}: no format goes with that ending ({known}); say one with --format") from None


def emit(text: str, output: Path | None, quiet: bool = False) -> None:
    """Write a result to a file, whole or not at all, or to stdout. `quiet`: without saying where it went.

    Raises:
        MachineError: it cannot be written.
    """
    text = text.rstrip("\n") + "\n"
    if output is not None:
        from leepfrog.files import printable, write_whole

        target = Path(os.path.realpath(output))  # a link stays a link
        if target.exists() and not target.is_file():
            try:
                target.write_text(text, encoding="utf-8")  # a pipe or device is written to, not replaced
            except OSError as error:
                raise MachineError(f"cannot write {printable(output)}: {error.strerror or error}") from None
        else:
            write_whole(target, text.encode())
        remark(f"wrote {printable(output)}", quiet)
        return
    if sys.stdout is None:  # how Python shows a stream that was closed before it started
        raise MachineError("the result cannot be written: stdout is closed; name a file with -o where there is one")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough; typer would make that exit code 1
        _give_up(sys.stdout)
        sys.exit(0)
    except OSError as error:
        _give_up(sys.stdout)
        raise MachineError(f"the result cannot be written to stdout: {error.strerror or error}") from None


def remark(text: str, quiet: bool = False) -> None:
    """A line for people, on stderr, unless they asked for quiet; where nobody can read it, that is no error."""
    if quiet or sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _give_up(sys.stderr)


def steady_streams() -> None:
    """Let stdout and stderr take any text, and keep files from getting the numbers of streams that are closed.

    What is no terminal gets UTF-8, as files do; a terminal that lacks a character gets an escape for it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _give_up(stream: TextIO) -> None:
    """Send what is still to come, such as Python's own flush at the end, to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def as_json(value: Any) -> str:
    """Indented JSON; a number that is not known or infinite, for which JSON has no word, is null."""
    import json

    return json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_rows(written_as: Format, header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A table in any format but JSON; `right` says which columns are numbers."""
    if written_as is Format.csv:
        return as_csv(header, rows)
    return (as_markdown if written_as is Format.md else as_table)(header, rows, right)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values, quoted where needed."""
    import csv
    import io

    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return stream.getvalue()


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A Markdown table; `right` says which columns are numbers."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    rule = ["---:" if number else ":---" for number in right]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))


def as_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """An aligned plain-text table, as wide as its content: nothing is cut off or wrapped."""
    widths = [max(_width(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = []
        for cell, width, number in zip(row, widths, right, strict=True):
            space = " " * (width - _width(cell))
            padded.append(space + cell if number else cell + space)
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def _width(text: str) -> int:
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
