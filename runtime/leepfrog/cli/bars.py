"""Progress bar for terminals; nothing is printed if stderr is not a terminal.

The bar is one line of plain characters, redrawn after a carriage return. It uses no colors and no escape sequences.
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
# Minimum time between redraws, so that terminals on slow connections keep up.
SECONDS = 0.1


class Bars:
    """Progress listener (leepfrog.progress.Progress) that draws one bar per stage. Use it in a `with` block."""

    def __init__(self, quiet: bool = False) -> None:
        """Create the bar; it is not drawn if `quiet`, if stderr is not a terminal, or if the terminal is dumb."""
        self._quiet = quiet
        self._draws = not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.Lock()  # inference reports progress from its own threads
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

    def plan(self, text: str) -> None:
        """Print an announcement."""
        with self._lock:
            self._wipe()
            remark(f"plan: {printable(text)}", self._quiet)

    def start(self, what: str, total: int) -> None:
        """Start a stage, whose bar replaces that of the previous stage."""
        with self._lock:
            self._what, self._done, self._total = printable(what), 0, total
            self._began = time.monotonic()
            self._draw()

    def advance(self, steps: int) -> None:
        """Advance the bar of the current stage."""
        with self._lock:
            self._done += steps
            if time.monotonic() - self._drawn > SECONDS or self._done >= self._total:
                self._draw()

    def notice(self, text: str) -> None:
        """Print a remark without garbling the bar."""
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
        seconds = self._drawn - self._began
        if 0 < part < 1 and seconds > 0:
            rate, left = self._done / seconds, round(seconds * (1 - part) / part)
            line += f", {rate:,.0f}/s" if rate >= 10 else f", {rate:.2g}/s"
            line += f", {left // 60}:{left % 60:02} left"
        # Leave one column free: a full line would wrap.
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
        except OSError:  # the terminal is gone; continue without a bar
            self._draws = False
