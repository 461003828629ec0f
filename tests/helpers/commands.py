"""Run the command line as users do, and check properties that hold for every error, such as a one-line message."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import models_made as made
import pytest
import tally
from leepfrog.cli.main import main

ENTRY = [sys.executable, "-W", "error", "-m", "leepfrog"]


@dataclasses.dataclass(frozen=True)
class Done:
    """Completed command: its command line, exit code, stdout and stderr."""

    command: str
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Error line of stderr; there must be exactly one."""
        lines = [line for line in self.err.splitlines() if line.startswith("leepfrog: error: ")]
        assert len(lines) == 1, self
        return lines[0]

    @property
    def json(self) -> Any:
        """Parsed JSON of stdout."""
        return json.loads(self.out)

    def check(self, code: int, *words: str) -> None:
        """Check the exit code and that the message contains `words`; an error must be one line, on stderr only."""
        if "Traceback" in self.err or "internal error" in self.err or self.code == 70:
            tally.TRACEBACKS.append(self.command)
        assert "Traceback" not in self.out + self.err, self
        assert "internal error" not in self.err, self
        assert self.code == code, self
        if code:
            assert not self.out, self
            output = self.error
            assert self.err.splitlines()[-1] == output, self
            assert len(output) < 900, self
        else:
            output = self.out + self.err
            assert "leepfrog: error" not in output, self
        for word in words:
            assert word in output, (word, output)


@dataclasses.dataclass(frozen=True)
class Row:
    """Row of a table of bad inputs.

    Attributes:
        what: description of the input, also the test id.
        make: function that creates the input in a folder; the command runs in that folder.
        command: command line without `leepfrog`, as a user types it.
        code: expected exit code.
        words: strings that the error message, or the output of a successful command, must contain.
    """

    what: str
    make: Callable[[Path], object]
    command: str
    code: int
    words: tuple[str, ...]


def row(what: str, make: Callable[[Path], object], command: str, code: int, *words: str) -> Any:
    """Return a Row as a test parameter whose id is its description."""
    return pytest.param(Row(what, make, command, code, words), id=what.replace(" ", "-"))


def snapshot(*folders: Path) -> dict[str, bytes]:
    """Return the content of every file below the folders, by path."""
    return {os.fsdecode(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def files(**contents: bytes | made.Made) -> Callable[[Path], None]:
    """Return a function that writes these files to a folder; `bad_onnx=...` is written as bad.onnx."""

    def make(here: Path) -> None:
        for name, content in contents.items():
            path = here / ".".join(name.rsplit("_", 1))
            path.write_bytes(content if isinstance(content, bytes) else content.model.SerializeToString())

    return make


class Here:
    """Runner of commands in a folder, within the current process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._capsys, self._monkeypatch = folder, capsys, monkeypatch
        monkeypatch.chdir(folder)

    def call(self, *words: str | Path) -> Done:
        """Run one command line."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["leepfrog", *map(os.fspath, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = self._capsys.readouterr()
        code = stop.value.code
        return Done(" ".join(map(os.fspath, words)), code if isinstance(code, int) else 0, captured.out, captured.err)


class Late(BaseException):
    """Raised when a command exceeds its time limit; no command catches BaseException."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise Late if the block takes longer, even if it is blocked on a file."""

    def stop(*_: object) -> None:
        raise Late(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def process(words: Iterable[str | Path], *, start: Sequence[str] = ENTRY, **options: Any) -> Done:
    """Run one command line in a new process.

    Args:
        words: arguments of `leepfrog`.
        start: command that replaces `python -m leepfrog`.
        options: keyword arguments of `subprocess.run`.
    """
    given = list(map(os.fspath, words))
    settings = {"capture_output": True, "text": True, "timeout": 300} | options
    done = subprocess.run([*start, *given], check=False, **settings)
    return Done(" ".join(given), done.returncode, done.stdout, done.stderr)


def run(*words: str | Path, code: str | None = None, **environment: str) -> Done:
    """Run one command line, or the Python program `code` with these arguments, with environment variables changed."""
    start = ENTRY if code is None else [sys.executable, "-W", "error", "-c", code]
    return process(words, start=start, env={**os.environ, **environment})


def heed_permissions() -> None:
    """Drop root's capabilities to bypass file permissions; for `preexec_fn`.

    Raises:
        OSError: the capabilities cannot be dropped.
    """
    if os.getuid() == 0:
        drop_from_bounding_set, may_override, may_read = 24, 1, 2
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (may_override, may_read):
            if libc.prctl(drop_from_bounding_set, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


needs_permissions = pytest.mark.skipif(sys.platform != "linux", reason="dropping capabilities needs prctl (Linux)")


def injected(what: str, done: Done, code: int, *words: str) -> None:
    """Count an injected fault, and check the exit code and the message of the command."""
    tally.FAULTS[what] += 1
    done.check(code, *words)
