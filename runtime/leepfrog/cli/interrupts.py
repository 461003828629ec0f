"""Ctrl-C, also where native code swallows it: in a callback, or while a package is being imported."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


class Interrupts:
    """Within a `with` block, remembers that Ctrl-C came, and raises it again where it was swallowed.

    Attributes:
        seen: whether it came. An error that comes then is its doing: an import, say, fails with an ImportError.
    """

    def __init__(self) -> None:
        self.seen = False
        self._ours = False

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        # Where the signal is ignored, as in a shell's background jobs, it stays so.
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._ours, self._hook = True, sys.unraisablehook
            signal.signal(signal.SIGINT, self._note)
            sys.unraisablehook = self._again
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = self._hook

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        raise KeyboardInterrupt

    def _again(self, lost: Any) -> None:
        """Python would only print what a destructor or a callback from native code raised, and go on."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            # Once this callback is over: within it, it would be lost in the same way. A signal also ends a wait.
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            self._hook(lost)
