"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from leepfrog.errors import MachineError

PART_SECONDS = 3600
_SEAL = "sha256"

# Bounds on files that are read whole. No ONNX file is larger than what protobuf can hold.
LARGEST_BINARY = 1 << 31
LARGEST_TEXT = 1 << 27


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading, without ever waiting for a pipe or reading a device.

    What was opened is what is checked, so that the file cannot be exchanged in between.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, device or socket.
    """
    descriptor = _open_at_once(path, os.O_RDONLY)
    return open(descriptor, "rb")


def read_regular(path: Path | str, limit: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: the file.
        limit: the most bytes that it may have; None for no limit.

    Raises:
        OSError: as of `open_regular`, or the file is larger than the limit.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if limit is None:
            return stream.read()
        # The size alone is no bound: that of a file in /proc is 0, and others may grow.
        parts, left = [], limit + 1 if size <= limit else 0
        while left and (part := stream.read(min(left, max(size + 1, 1 << 16)))):
            parts.append(part)
            left -= len(part)
        if not left:
            raise OSError(errno.EFBIG, f"larger than the limit of {_megabytes(limit)}", os.fspath(path))
        return b"".join(parts)


def _megabytes(size: int) -> str:
    return f"{size >> 20:,} MiB" if size >= 1 << 20 else f"{size:,} bytes"


def _open_at_once(path: Path | str, flags: int) -> int:
    """A descriptor of a regular file; a pipe that nobody holds the other end of is not waited for."""
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except ValueError as error:  # a NUL in the path
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from None
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing; it takes the name `path` only if the block succeeds.

    Raises:
        MachineError: the folder cannot be written, the disk is full, or `path` is a folder, pipe or device.
    """
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "is a folder" if path.is_dir() else "not a regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise MachineError(f"cannot write {printable(path)}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no two processes into the block at once; the lock is on the file `path` and ends with its process.

    Where the system has no such lock, as Windows, nobody waits.

    Raises:
        MachineError: the file cannot be made.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(_open_at_once(path, os.O_RDWR | os.O_CREAT), "ab")  # noqa: SIM115
    except OSError as error:
        raise MachineError(f"cannot write {printable(path)}: {error.strerror or error}") from error
    with stream:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def remove_old_parts(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; nobody writes one file for PART_SECONDS."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > PART_SECONDS:
                part.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with written_whole(path) as stream:
        stream.write(content)


def sealed(values: dict[str, Any]) -> bytes:
    """JSON values with the hash of what they say, for `unsealed` to tell whether a file is damaged."""
    return json.dumps({**values, _SEAL: sha256_of(json.dumps(values).encode())}).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """What `sealed` was given.

    Raises:
        ValueError: it is something else, or damaged.
    """
    try:
        values = json.loads(content)
        seal = values.pop(_SEAL)
        if seal == sha256_of(json.dumps(values).encode()):
            return dict(values)
    except (AttributeError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError("it is damaged")


def sha256_of(content: bytes | memoryview) -> str:
    """Hexadecimal sha256 of bytes in memory."""
    return hashlib.sha256(content).hexdigest()


def printable(path: Path | str) -> str:
    """A path or name as text that stays on one line and can always be encoded.

    Bytes of a file name that are not UTF-8, line breaks and terminal escapes become backslash escapes.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in str(path))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
