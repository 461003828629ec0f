"""A progress bar on a terminal's stderr; silence elsewhere.

The bar is one line of plain characters that a carriage return takes back: there are no colours to switch off, and
nothing that a terminal would have to understand.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Self

from leepfrog.cli.output import remark
from leepfrog.files import printable

WIDTH = 30
# Between two drawings, so that a terminal over a slow line keeps up.
SECONDS = 0.1


class Bars:
    """A leepfrog.progress.Progress that draws one bar a stage. Use it in a `with` block."""

    def __init__(self, quiet: bool = False) -> None:
        """Draw nothing where `quiet`, where stderr is no terminal, and where the terminal cannot go back on a line."""
        self._quiet = quiet
        self._draws = not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.Lock()  # inference advances from threads of its own
        self._what, self._done, self._total = "", 0, 0
        self._began = self._drawn = 0.0
        self._width = 0
        self.noticed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._wipe()

    def start(self, what: str, total: int) -> None:
        """Begin a stage; the bar of the stage before goes."""
        with self._lock:
            self._what, self._done, self._total = printable(what), 0, total
            self._began = time.monotonic()
            self._draw()

    def advance(self, steps: int) -> None:
        """Move the stage's bar."""
        with self._lock:
            self._done += steps
            if time.monotonic() - self._drawn > SECONDS or self._done >= self._total:
                self._draw()

    def notice(self, text: str) -> None:
        """Print a remark without tearing the bar."""
        text = printable(text)
        with self._lock:
            self.noticed.append(text)
            self._wipe()
            remark(text, self._quiet)

    def _draw(self) -> None:
        if not self._draws:
            return
        self._drawn = time.monotonic()
        part = min(self._done / self._total, 1.0) if self._total else 1.0
        full = round(part * WIDTH)
        line = f"{self._what} [{'#' * full}{'.' * (WIDTH - full)}] {self._done:,}/{self._total:,}"
        if 0 < part < 1:
            left = round((self._drawn - self._began) * (1 - part) / part)
            line += f", {left // 60}:{left % 60:02} left"
        # One column stays free: a full line would move on to the next.
        line = line[: shutil.get_terminal_size().columns - 1]
        self._write(f"\r{line.ljust(self._width)}")
        self._width = len(line)

    def _wipe(self) -> None:
        if self._width:
            self._write(f"\r{' ' * self._width}\r")
            self._width = 0

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # the terminal is gone, which is no reason to stop
            self._draws = False
