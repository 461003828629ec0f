"""Results on stdout or in a file, in the format asked for; progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import select
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO
from unicodedata import combining, east_asian_width

from leepfrog.errors import MachineError, UsageError
from leepfrog.escape import csv_cell, json_text, markdown, plain
from leepfrog.files import write_through, write_whole


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
        raise UsageError(f"-o {output}: cannot infer the format from this ending ({known}); use --format") from None


def emit(text: str, output: Path | None, quiet: bool = False, commands: bool = False) -> None:
    """Write a result to a file, whole or not at all, or to stdout.

    Args:
        text: the result.
        output: the file, None for stdout.
        quiet: do not say where it went.
        commands: it holds commands for a CI system, and so nothing in it is escaped here.

    Raises:
        MachineError: it cannot be written.
    """
    text = text.rstrip("\n")
    text = (text if commands else as_lines(text.split("\n"))) + "\n"
    if output is not None and not _is_stdout(output):
        write_file(output, text.encode(), quiet)
        return
    write_out(text)


def write_out(text: str = "") -> None:
    """Write to stdout, and all that is still buffered: Python itself would fail to only when it ends, with code 120.

    Raises:
        MachineError: it cannot be written.
    """
    try:
        if text:  # a stdout that is closed is an error only where there is something to write
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough; the command goes on and keeps its exit code
        _give_up(sys.stdout)
    except OSError as error:
        _give_up(sys.stdout)
        raise MachineError(
            f"the result cannot be written to stdout: {error.strerror or error}; -o writes it to a file"
        ) from None


def _is_stdout(path: Path) -> bool:
    """Whether a path, such as /dev/stdout, is where stdout goes: a log that is appended to must not be replaced."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def write_file(path: Path, content: bytes, quiet: bool = False) -> None:
    """Write a file whole or not at all, and say so; a link stays a link, a pipe or device is written to.

    Raises:
        MachineError: it cannot be written.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        write_through(path, content)
    else:
        write_whole(Path(os.path.realpath(path)), content)
    remark(f"wrote {path}", quiet)


def finish(*steps: Callable[[], object]) -> None:
    """Do all of several last steps, such as writing files, even where one fails.

    Raises:
        Exception: the first one that a step raised.
    """
    failed: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as error:
            failed.append(error)
    for other in failed[1:]:
        remark(f"also: {other}")
    if failed:
        raise failed[0]


def remark(text: str, quiet: bool = False) -> None:
    """A line for people, on stderr, unless they asked for quiet; where nobody can read it, that is no error."""
    if quiet or sys.stderr is None:
        return
    try:
        print(plain(text), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _give_up(sys.stderr)


def steady_streams() -> None:
    """Let stdout and stderr take any text, and all of it or fail; keep files from getting the numbers of closed ones.

    What is no terminal gets UTF-8, as files do; a terminal that lacks a character gets an escape for it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            if os.name == "posix" and stream is getattr(sys, f"__{name}__"):
                stream.flush()
                patient = io.BufferedWriter(_BlockingFile(stream.fileno(), "wb", closefd=False))
                stream = io.TextIOWrapper(patient, encoding, line_buffering=stream.line_buffering)
                setattr(sys, name, stream)
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
    if sys.stdout is None:  # how Python shows a stream that was closed before it started
        sys.stdout = _ClosedStdout()


class _BlockingFile(io.FileIO):
    """A descriptor that takes all that is written: where it does not block and is full, this waits for its reader."""

    def write(self, data: Any) -> int:
        """How many bytes were written, at least one."""
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written


class _ClosedStdout(io.TextIOBase):
    """In place of a stdout that is closed: what is written to it is lost, and that is an error."""

    def write(self, text: str) -> int:
        """Raises OSError."""
        raise OSError(errno.EBADF, "stdout is closed")


def _give_up(stream: TextIO) -> None:
    """Send what is still to come, such as Python's own flush at the end, to nowhere."""
    with contextlib.suppress(OSError):  # a stream without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def as_json(value: Any) -> str:
    """Indented JSON; a number that is not known or infinite, for which JSON has no word, is null."""
    return json_text(json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_lines(lines: Iterable[str]) -> str:
    """Lines of text; a line break within one of them stays in it as an escape."""
    return "\n".join(map(plain, lines))


def as_rows(
    written_as: Format,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    width: int | None = None,
    least: Sequence[int] = (),
) -> str:
    """A table in any format but JSON; `right` says which columns are numbers, see `as_table` for the others."""
    if written_as is Format.csv:
        return as_csv(header, rows)
    if written_as is Format.md:
        return as_markdown(header, rows, right)
    return as_table(header, rows, right, width, least)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values, quoted where needed; texts that a spreadsheet would evaluate are made harmless."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, header))
    for row in rows:
        writer.writerow(csv_cell(cell) if isinstance(cell, str) else cell for cell in row)
    return stream.getvalue()


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A Markdown table; `right` says which columns are numbers."""
    cells = [[markdown(cell) for cell in row] for row in (header, *rows)]
    rule = ["---:" if number else ":---" for number in right]
    return "\n".join("| " + " | ".join(row) + " |" for row in (cells[0], rule, *cells[1:]))


def terminal_width(output: Path | None) -> int | None:
    """The columns of the terminal that a result is shown on; None where it goes elsewhere, or they are not known."""
    if output is not None or sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size((0, 0)).columns or None


def as_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[bool],
    width: int | None = None,
    least: Sequence[int] = (),
) -> str:
    """An aligned plain-text table. Cells are never cut off or wrapped.

    Args:
        header: names of the columns.
        rows: cells.
        right: which columns are numbers.
        width: of the terminal; None for a table as wide as its content.
        least: columns that may be left out where the width does not do, the least important first. A line below the
            table names those that were.
    """
    cells = [[plain(cell) for cell in row] for row in (header, *rows)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(header))]
    shown, left_out = list(range(len(header))), []
    for column in least:
        if width is None or sum(widths[i] + 2 for i in shown) - 2 <= width:
            break
        shown.remove(column)
        left_out.append(column)

    def line(row: Sequence[str]) -> str:
        padded = []
        for i in shown:
            space = " " * (widths[i] - _width(row[i]))
            padded.append(space + row[i] if right[i] else row[i] + space)
        return "  ".join(padded).rstrip()

    lines = [line(cells[0]), "  ".join("-" * widths[i] for i in shown), *map(line, cells[1:])]
    if left_out:
        names = ", ".join(cells[0][i] for i in sorted(left_out))
        lines.append(f"(no room for: {names}; --format csv or a pipe shows all)")
    return "\n".join(lines)


def _width(text: str) -> int:

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
