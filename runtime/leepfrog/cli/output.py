"""Results on stdout or in a file; progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from leepfrog.errors import MachineError
from leepfrog.escape import plain
from leepfrog.files import write_through, write_whole

SHOWN_SKIPS = 5


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
    text = (text if commands else "\n".join(map(plain, text.split("\n")))) + "\n"
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


def skipped_lines(skipped: Sequence[tuple[str, str]], listed_in: str) -> list[str]:
    """Lines on the first of the images that were skipped, by name and reason, and how many more `listed_in` has."""
    lines = [f"skipped: {name}: {reason}" for name, reason in skipped[:SHOWN_SKIPS]]
    more = len(skipped) - SHOWN_SKIPS
    return [*lines, f"skipped: {more} more, listed in {listed_in}"] if more > 0 else lines


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
