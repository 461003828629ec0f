"""Bounded file reads, atomic file writes, locks and hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from leepfrog.errors import WriteError

PART_SECONDS = 3600
_SEAL = "sha256"

# Size limits, in bytes, of files that are read into memory. Protobuf limits ONNX files to 2 GiB.
LARGEST_BINARY = 1 << 31
LARGEST_TEXT = 1 << 27


def open_regular(path: Path | str) -> BufferedReader:
    """Open a regular file for reading, without ever blocking on a pipe or reading a device.

    The check is made on the open descriptor, so the file cannot be swapped in between.

    Raises:
        OSError: the file cannot be opened, or is a folder, pipe, device or socket.
    """
    descriptor = _open_at_once(path, os.O_RDONLY)
    return open(descriptor, "rb")


def read_regular(path: Path | str, limit: int) -> bytes:
    """Return the content of a regular file.

    Args:
        path: path of the file.
        limit: maximum size of the file, in bytes.

    Raises:
        OSError: see `open_regular`; also if the file exceeds the limit or the available memory.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        # The reported size is not a bound: files in /proc report 0, and other files may grow.
        parts, left = [], limit + 1 if size <= limit else 0
        try:
            while left and (part := stream.read(min(left, max(size + 1, 1 << 16)))):
                parts.append(part)
                left -= len(part)
        except MemoryError:
            raise OSError(errno.ENOMEM, f"not enough memory to read {_megabytes(size)}", os.fspath(path)) from None
        if not left:
            raise OSError(errno.EFBIG, f"larger than the limit of {_megabytes(limit)}", os.fspath(path))
        return b"".join(parts)


def listed(folder: Path, ending: str) -> list[Path]:
    """Return the sorted files of a folder whose names end in `ending`; an empty list if there is no such folder.

    Raises:
        OSError: the folder cannot be read, which a glob would not report.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(ending))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _megabytes(size: int) -> str:
    return f"{size >> 20:,} MiB" if size >= 1 << 20 else f"{size:,} bytes"


def _open_at_once(path: Path | str, flags: int) -> int:
    """Open a regular file and return its descriptor, without blocking on a pipe whose other end is not open."""
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
    """Open a temporary file next to `path` for writing, and rename it to `path` only if the block succeeds.

    Raises:
        WriteError: the folder cannot be written, the disk is full, or `path` is a folder, pipe or device.
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.part")
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
        raise WriteError(f"cannot write {printable(path)}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Run the block under an exclusive lock between processes, on the file `path`.

    The lock is released at the end of the block, or when its process dies.

    Raises:
        WriteError: the file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(_open_at_once(path, os.O_RDWR | os.O_CREAT), "ab")  # noqa: SIM115
    except OSError as error:
        raise WriteError(f"cannot write {printable(path)}: {error.strerror or error}") from error
    with stream:
        _wait_for_lock(stream.fileno())
        yield


def _wait_for_lock(file: int) -> None:
    """Lock a file until it is closed; do nothing on a file system without locks."""
    try:
        import fcntl
    except ImportError:  # on Windows
        msvcrt: Any = importlib.import_module("msvcrt")
        os.lseek(file, 0, os.SEEK_SET)
        with contextlib.suppress(OSError):
            while True:
                try:
                    return msvcrt.locking(file, msvcrt.LK_LOCK, 1)  # type: ignore[no-any-return]
                except OSError as error:
                    if error.errno != errno.EDEADLOCK:  # LK_LOCK gives up with this error after ten seconds
                        raise
    else:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def check_writable(path: Path) -> None:
    """Check that `write_whole` or `write_through` can write to `path`, before any work is done.

    Raises:
        WriteError: the path is a folder, or its folder is not writable.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists() and not path.is_file():
            return
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise WriteError(f"cannot write {printable(path)}: {error.strerror or error}") from None


def write_through(path: Path, content: bytes) -> None:
    """Write to an existing pipe or device instead of replacing it.

    Raises:
        WriteError: the pipe has no reader, or the device accepts no more data.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        os.set_blocking(descriptor, True)
        with open(descriptor, "wb") as stream:
            stream.write(content)
    except OSError as error:
        reason = "this pipe has no reader" if error.errno == errno.ENXIO else error.strerror or error
        raise WriteError(f"cannot write {printable(path)}: {reason}") from None


def remove_old_parts(folder: Path) -> None:
    """Remove temporary files that killed writers left in a folder; no write takes longer than PART_SECONDS."""
    with contextlib.suppress(OSError):
        for part in listed(folder, ".part"):
            if part.name.startswith(".") and time.time() - part.stat().st_mtime > PART_SECONDS:
                part.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with written_whole(path) as stream:
        stream.write(content)


def sealed(values: dict[str, Any]) -> bytes:
    """Serialize JSON values together with their hash, so that `unsealed` can detect a damaged file."""
    return json.dumps({**values, _SEAL: sha256_of(json.dumps(values).encode())}).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """Return the values that were passed to `sealed`.

    Raises:
        ValueError: the content is something else, or damaged.
    """
    from leepfrog.stated import parsed

    try:
        values = parsed(content)
        seal = values.pop(_SEAL)
        if seal == sha256_of(json.dumps(values).encode()):
            return dict(values)
    except (AttributeError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError("it is damaged")


def sha256_of(content: bytes | memoryview) -> str:
    """Return the hexadecimal SHA-256 of bytes in memory."""
    return hashlib.sha256(content).hexdigest()


def printable(path: Path | str) -> str:
    """Return a path or name as text that stays on one line and can always be encoded.

    Bytes of a file name that are not UTF-8, line breaks and terminal escapes become backslash escapes.
    """
    text = str(path)
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's surrogate for a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
