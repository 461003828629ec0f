"""Ctrl-C, also where native code swallows it or keeps Python from seeing it."""

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
"""The exit code of a process that Ctrl-C ended: 128 and the signal's number."""

# Two signals that come closer together are one Ctrl-C: the terminal's, and that of a wrapper that passes it on.
SECONDS_APART = 0.05


class Interrupts:
    """Within a `with` block, Ctrl-C is a KeyboardInterrupt, raised again where it was swallowed.

    A second Ctrl-C ends the process at once, with exit code INTERRUPTED.

    Attributes:
        seen: whether it came. An error that comes then is its doing: an import, say, fails with an ImportError.
    """

    def __init__(self) -> None:
        self.seen = False
        self._ours = False
        self._handled = self._resent = 0

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        # Where the signal is ignored, as in a shell's background jobs, it stays so.
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._ours, self._hook = True, sys.unraisablehook
            signal.signal(signal.SIGINT, self._note)
            sys.unraisablehook = self._again
            self._signals, wakeup = socket.socketpair()
            wakeup.setblocking(False)
            self._wakeup = wakeup
            signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
            with contextlib.suppress(RuntimeError):  # no thread can be started
                threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours and not self.seen:  # else the process is about to end, which a second Ctrl-C may hasten
            signal.set_wakeup_fd(-1)
            self._wakeup.close()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = self._hook

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        while frame is not None:
            if frame.f_code is Interrupts._again.__code__:  # there it would be lost; it is sent again
                return
            frame = frame.f_back
        self._handled += 1
        raise KeyboardInterrupt

    def _watch(self) -> None:
        """In a thread: Python's handlers run in the main thread, and so not while that is in native code."""
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
        """Python would only print what a destructor or a callback from native code raised, and go on."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            threading.Thread(target=self._send_again, args=(self._handled,), daemon=True).start()
        else:
            self._hook(lost)

    def _send_again(self, handled: int) -> None:
        """Once the callback is over: within it, the signal would be lost in the same way.

        A signal also ends a wait, but not one that begins in the very moment between Python's look for signals and the
        system call. So it is sent until it is handled.
        """
        time.sleep(0.01)
        while self._handled == handled:
            self._resent += 1
            if os.name == "posix":
                os.kill(os.getpid(), signal.SIGINT)
            else:  # on Windows os.kill would end the process
                signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)


def _end() -> None:
    """End the process now, and its children. Files that are not finished have names that later runs remove."""
    child.kill_all()
    with contextlib.suppress(OSError):
        os.write(2, b"\nleepfrog: error: interrupted twice, ended at once\n")
    os._exit(INTERRUPTED)
