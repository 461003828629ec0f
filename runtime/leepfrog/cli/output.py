"""Output: results go to stdout or a file, progress and remarks to stderr."""

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


def emit(text: str, output: Path | None, quiet: bool = False, escaped: bool = False) -> None:
    """Write a result to stdout or, atomically, to a file.

    Args:
        text: the result.
        output: the file, or None for stdout.
        quiet: whether to suppress the remark that names the file.
        escaped: whether to print the text as it is: it has been escaped, or holds commands for a CI system.

    Raises:
        MachineError: the result cannot be written.
    """
    text = text.rstrip("\n")
    text = (text if escaped else "\n".join(map(plain, text.split("\n")))) + "\n"
    if output is not None and not _is_stdout(output):
        write_file(output, text.encode(), quiet)
        return
    write_out(text)


def write_out(text: str = "") -> None:
    """Write to stdout and flush it; without this, a failed flush would only surface at exit, with code 120.

    Raises:
        MachineError: stdout cannot be written to.
    """
    try:
        if text:  # a closed stdout is an error only if there is something to write
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has exited; continue and keep the exit code
        _give_up(sys.stdout)
    except OSError as error:
        _give_up(sys.stdout)
        raise MachineError(
            f"cannot write the result to stdout: {error.strerror or error}; use -o to write it to a file"
        ) from None


def _is_stdout(path: Path) -> bool:
    """Return whether a path, such as /dev/stdout, is stdout itself: a log opened for appending must not be replaced."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def write_file(path: Path, content: bytes, quiet: bool = False) -> None:
    """Write a file atomically and report it; follow symbolic links, and write directly to pipes and devices.

    Raises:
        MachineError: the file cannot be written.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        write_through(path, content)
    else:
        write_whole(Path(os.path.realpath(path)), content)
    remark(f"wrote {path}", quiet)


def finish(*steps: Callable[[], object]) -> None:
    """Run all final steps, such as writing files, even if one of them fails.

    Raises:
        Exception: the first exception that a step raised.
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
    """Return a line for each of the first skipped (name, reason) pairs, and one that says where the rest is listed."""
    lines = [f"skipped: {name}: {reason}" for name, reason in skipped[:SHOWN_SKIPS]]
    more = len(skipped) - SHOWN_SKIPS
    return [*lines, f"skipped: {more} more, listed in {listed_in}"] if more > 0 else lines


def remark(text: str, quiet: bool = False) -> None:
    """Print a line to stderr unless quiet; a closed or broken stderr is not an error."""
    if quiet or sys.stderr is None:
        return
    try:
        print(plain(text), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _give_up(sys.stderr)


def steady_streams() -> None:
    """Make stdout and stderr accept any text and write all of it or fail.

    Streams other than terminals get UTF-8, as files do; terminals get escapes for characters that they lack. The
    descriptors of closed standard streams are occupied, so that no file opened later is mistaken for one.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
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
    if sys.stdout is None:  # how Python represents a stream that was closed at start-up
        sys.stdout = _ClosedStdout()


class _BlockingFile(io.FileIO):
    """Raw file that accepts all data: when a non-blocking descriptor is full, it waits for the reader."""

    def write(self, data: Any) -> int:
        """Write data and return the number of bytes written, at least one."""
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written


class _ClosedStdout(io.TextIOBase):
    """Replacement for a closed stdout, on which every write is an error."""

    def write(self, text: str) -> int:
        """Raise OSError."""
        raise OSError(errno.EBADF, "stdout is closed")


def _give_up(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that later writes, such as Python's flush at exit, cannot fail."""
    with contextlib.suppress(OSError):  # a stream without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
