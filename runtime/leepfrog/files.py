"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from leepfrog.errors import MachineError

PART_SECONDS = 3600
_SEAL = "sha256"


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` for writing; it takes the name `path` only if the block succeeds.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
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
        stream = open(path, "ab")  # noqa: SIM115
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
