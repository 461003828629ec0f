"""Ctrl-C handling that also works where native code swallows the signal or delays Python's handlers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any, Self

from leepfrog import child

INTERRUPTED = 130
"""Exit code of a process ended by Ctrl-C: 128 plus the signal number."""

# Signals closer together than this count as one Ctrl-C: a wrapper may forward the one that the terminal sent.
SECONDS_APART = 0.05


class Interrupts:
    """Context manager in which Ctrl-C raises KeyboardInterrupt, again if native code swallowed it.

    A second Ctrl-C ends the process immediately, with exit code INTERRUPTED.

    Attributes:
        seen: whether Ctrl-C was pressed. It then counts as the cause of later errors: an interrupted import, for
            example, fails with an ImportError.
    """

    def __init__(self) -> None:
        self.seen = False
        self._ours = False
        self._handled = self._resent = 0

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        # Where the signal is ignored, as in background jobs of a shell, leave it ignored.
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._ours, self._hook = True, sys.unraisablehook
            signal.signal(signal.SIGINT, self._note)
            sys.unraisablehook = self._again
            self._signals, wakeup = socket.socketpair()
            wakeup.setblocking(False)
            self._wakeup = wakeup
            signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
            with contextlib.suppress(RuntimeError):  # the thread cannot be started
                threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours and not self.seen:  # otherwise the process is about to end, which a second Ctrl-C may speed up
            signal.set_wakeup_fd(-1)
            self._wakeup.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = self._hook

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        while frame is not None:
            if frame.f_code is Interrupts._again.__code__:  # an exception would be lost there; the signal is sent again
                return
            frame = frame.f_back
        self._handled += 1
        raise KeyboardInterrupt

    def _watch(self) -> None:
        """Watch for a second Ctrl-C in a thread: native code in the main thread delays Python's signal handlers."""
        first = None
        with self._signals:
            while numbers := self._signals.recv(64):
                for _ in range(numbers.count(signal.SIGINT)):
                    if self._resent:
                        self._resent -= 1
                    elif first is None:
                        first = time.monotonic()
                    elif time.monotonic() > first + SECONDS_APART:
                        _end()

    def _again(self, lost: Any) -> None:
        """Send Ctrl-C again if a destructor or native callback swallowed it: Python would only print the exception."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            threading.Thread(target=self._send_again, args=(self._handled,), daemon=True).start()
        else:
            self._hook(lost)

    def _send_again(self, handled: int) -> None:
        """Send the signal again once the callback has returned; within it, the exception would be lost again.

        A signal ends a wait in progress, but not one that begins between Python's check for signals and the system
        call. So it is sent until it is handled.
        """
        time.sleep(0.01)
        while self._handled == handled:
            self._resent += 1
            if os.name == "posix":
                os.kill(os.getpid(), signal.SIGINT)
            else:  # on Windows, os.kill would end the process
                signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)


def _end() -> None:
    """End the process and its children immediately. Unfinished files have temporary names, which later runs remove."""
    child.kill_all()
    with contextlib.suppress(OSError):
        os.write(2, b"\nleepfrog: error: interrupted twice, exiting immediately\n")
    os._exit(INTERRUPTED)
