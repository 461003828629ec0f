"""The command line called as its users call it, and what holds after any error: one line, and nothing left behind."""

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
    """A command that has ended."""

    command: str
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("leepfrog: error: ")]
        assert len(lines) == 1, self
        return lines[0]

    @property
    def json(self) -> Any:
        """The result."""
        return json.loads(self.out)

    def check(self, code: int, *words: str) -> None:
        """Hold it against the exit code and the words that were expected; an error is one line, on stderr alone."""
        if "Traceback" in self.err or "internal error" in self.err or self.code == 70:
            tally.TRACEBACKS.append(self.command)
        assert "Traceback" not in self.out + self.err, self
        assert "internal error" not in self.err, self
        assert self.code == code, self
        if code:
            assert not self.out, self
            said = self.error
            assert self.err.splitlines()[-1] == said, self
            assert len(said) < 900, self
        else:
            said = self.out + self.err
            assert "leepfrog: error" not in said, self
        for word in words:
            assert word in said, (word, said)


@dataclasses.dataclass(frozen=True)
class Row:
    """One item of the table of bad inputs.

    Attributes:
        what: the item.
        make: makes it in a folder, which is where the command is called.
        command: words of the command line, as a user types them.
        code: the exit code.
        words: what the message, or else the output, must hold.
    """

    what: str
    make: Callable[[Path], object]
    command: str
    code: int
    words: tuple[str, ...]


def row(what: str, make: Callable[[Path], object], command: str, code: int, *words: str) -> Any:
    """A Row as a parameter of a test, by its name."""
    return pytest.param(Row(what, make, command, code, words), id=what.replace(" ", "-"))


def snapshot(*folders: Path) -> dict[str, bytes]:
    """Every file below some folders, and what it holds."""
    return {os.fsdecode(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def files(**contents: bytes | made.Made) -> Callable[[Path], None]:
    """Make some files; `bad_onnx=...` is bad.onnx."""

    def make(here: Path) -> None:
        for name, content in contents.items():
            path = here / ".".join(name.rsplit("_", 1))
            path.write_bytes(content if isinstance(content, bytes) else content.model.SerializeToString())

    return make


class Here:
    """Calls commands in a folder, in this process."""

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
    """A command went on for too long; no command catches it."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise Late in a block that takes longer, also where it waits for a file."""

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
    """Run one command line in a process of its own.

    Args:
        words: what follows `leepfrog`.
        start: what stands before them, in place of `python -m leepfrog`.
        options: as for `subprocess.run`.
    """
    given = list(map(os.fspath, words))
    settings = {"capture_output": True, "text": True, "timeout": 300} | options
    done = subprocess.run([*start, *given], check=False, **settings)
    return Done(" ".join(given), done.returncode, done.stdout, done.stderr)


def run(*words: str | Path, code: str | None = None, **environment: str) -> Done:
    """Run one command line, or a Python program with these arguments, with changes to the environment."""
    start = ENTRY if code is None else [sys.executable, "-W", "error", "-c", code]
    return process(words, start=start, env={**os.environ, **environment})


def heed_permissions() -> None:
    """Run in a child before its program: root is denied what anyone else would be. Where that cannot be, OSError."""
    if os.getuid() == 0:
        drop_from_bounding_set, may_override, may_read = 24, 1, 2
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (may_override, may_read):
            if libc.prctl(drop_from_bounding_set, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")


needs_permissions = pytest.mark.skipif(sys.platform != "linux", reason="root gives up its rights by prctl, on Linux")


def injected(what: str, done: Done, code: int, *words: str) -> None:
    """Count a fault, and hold the program's exit code and the words of its message against what is wanted."""
    tally.FAULTS[what] += 1
    done.check(code, *words)
