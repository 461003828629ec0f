"""onnxruntime sessions that can be stopped: by a time limit, or by Ctrl-C.

A model is a program: one with an endless `Loop` never returns. Python handles Ctrl-C in the main thread only, between
two bytecode instructions, so a caller never enters onnxruntime itself: a helper thread does, and the caller waits.
`RunOptions.terminate`, which onnxruntime reads between two nodes, stops a run; `set_load_cancellation_flag` stops a
load. A single node cannot be stopped: its thread is abandoned, and `unfinished` counts it.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from leepfrog.errors import LeepfrogError, MachineError, ModelError, UsageError, one_line

LIMIT_VARIABLE = "LEEPFROG_SECONDS_PER_IMAGE"
# The largest published networks take some 20 s per image on one slow core.
SECONDS_PER_IMAGE = 120.0
# Loading evaluates what is constant in a graph; it may take as long as this many images.
LOAD_AS_IMAGES = 5
# Seconds that a stopped call has to return before its thread is abandoned.
PATIENCE = 1.0
# Seconds between two looks at the clock; on Windows, Ctrl-C is handled no sooner.
_TICK = 0.1

# Parts of onnxruntime's messages when memory or threads run out.
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "pthread_create failed")

_Result = TypeVar("_Result")


class _Call:
    """A call into onnxruntime: runs in a helper thread, can be stopped by any thread."""

    def __init__(self, call: Callable[[], Any], stop: Callable[[], None]) -> None:
        self._call, self._stop = call, stop
        self.over = threading.Event()
        self.stopped_at = math.inf
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error
        finally:
            _calls.discard(self)
            self.over.set()

    def stop(self) -> None:
        """Ask onnxruntime to return."""
        self.stopped_at = min(self.stopped_at, time.monotonic())
        self._stop()

    @property
    def is_lost(self) -> bool:
        """Whether it was stopped a while ago and has not returned."""
        return time.monotonic() > self.stopped_at + PATIENCE


_calls: set[_Call] = set()
"""Calls that onnxruntime has not returned from; single operations on a set are atomic."""


class _Helper:
    """A thread that makes one caller's calls one after the other, until its caller is gone."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(self.calls,), daemon=True).start()

    def __del__(self) -> None:
        self.calls.put(None)


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # it holds inputs and outputs


_of_caller = threading.local()


def _forget_threads() -> None:
    """After a fork: the child has none of the helper threads."""
    global _of_caller  # noqa: PLW0603 - of the process, as threads are
    _of_caller = threading.local()
    _calls.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def bounded(call: Callable[[], _Result], stop: Callable[[], None], seconds: float, what: str) -> _Result:
    """Call onnxruntime in a helper thread, for a limited time.

    Args:
        call: the call.
        stop: asks onnxruntime to return from it.
        seconds: the time limit.
        what: name of the operation, for the message.

    Raises:
        ModelError: the time limit is reached, or `stop_all` was called.
        MachineError: out of memory or threads.
        Exception: any error that `call` raises.
    """
    made = _Call(call, stop)
    _calls.add(made)
    if not hasattr(_of_caller, "helper"):
        try:
            _of_caller.helper = _Helper()
        except RuntimeError as error:
            _calls.discard(made)
            raise MachineError(f"no thread can be started: {error}; limits are low, or --threads is high") from None
    _of_caller.helper.calls.put(made)
    deadline = time.monotonic() + seconds
    too_long = False
    try:
        while not made.over.wait(_TICK):
            if not too_long and time.monotonic() > deadline:
                too_long = True
                made.stop()
            if made.is_lost:
                break
    except BaseException:  # Ctrl-C
        made.stop()
        made.over.wait(PATIENCE)
        raise
    finally:
        if not made.over.is_set():
            del _of_caller.helper
    if too_long:
        raise ModelError(f"{what} takes more than {seconds:g} s, the limit; {LIMIT_VARIABLE}=N allows N s per image")
    if made.stopped_at < math.inf:
        raise ModelError(f"{what} was stopped")
    if made.error is not None:
        raise _no_memory(what) if _tells_of_memory(made.error) else made.error
    return made.result  # type: ignore[no-any-return]


def _tells_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _no_memory(what: str) -> MachineError:
    return MachineError(f"onnxruntime is out of memory ({what}); fewer --threads or a smaller --batch-size need less")


def run_directly() -> None:
    """From now on, run models in the calling thread, without limit: for a process that times them and can be killed."""
    global _direct  # noqa: PLW0603 - of the process, as threads are
    _direct = True


_direct = False


def stop_all() -> None:
    """Stop everything that onnxruntime is doing, in all threads; for Ctrl-C."""
    for call in list(_calls):
        call.stop()


def unfinished() -> int:
    """How many calls onnxruntime has not returned from: such a process must be ended by `os._exit`."""
    return len(_calls)


def seconds_per_image() -> float:
    """The time limit of a model per image, in seconds; `$LEEPFROG_SECONDS_PER_IMAGE`, or SECONDS_PER_IMAGE.

    Raises:
        UsageError: the variable is not a positive number, or more than a day.
    """
    return seconds_set(LIMIT_VARIABLE, SECONDS_PER_IMAGE, most=86_400)


def seconds_set(variable: str, default: float, most: float) -> float:
    """The seconds that an environment variable sets; the default where it is not set or empty.

    Args:
        variable: its name.
        default: seconds.
        most: the most seconds that are allowed.

    Raises:
        UsageError: the variable is not a positive number, or more than `most`.
    """
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= most:
        raise UsageError(f"{variable}: {text[:40]!r} is not a positive number of seconds, {most:,.0f} at most")
    return seconds


class BoundedSession(onnxruntime.InferenceSession):  # type: ignore[misc]  # onnxruntime has no types
    """An onnxruntime session whose runs end within the time limit, and at once on Ctrl-C.

    Attributes:
        fallback: which nodes run on the CPU though another device was asked for, as a note; "" where none do.
    """

    fallback: str = ""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[Any]], run_options: Any = None
    ) -> list[Any]:
        """Run the model, as `InferenceSession.run` does.

        Raises:
            ModelError: it fails, or reaches the time limit; the message is the reason alone.
            MachineError: there is no memory for it.
        """
        images = max((len(value) for value in input_feed.values() if np.ndim(value)), default=1) or 1
        what = f"a run on {images} image(s)"
        try:
            if _direct:
                return super().run(output_names, input_feed, run_options)  # type: ignore[no-any-return]
            options = run_options or onnxruntime.RunOptions()
            options.log_severity_level = 4

            def stop() -> None:
                options.terminate = True

            return bounded(
                lambda: super(BoundedSession, self).run(output_names, input_feed, options),
                stop,
                seconds_per_image() * images,
                what,
            )
        except LeepfrogError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class
            if _tells_of_memory(error):
                raise _no_memory(what) from None
            raise ModelError(f"onnxruntime failed: {one_line(error)}") from None


def load_bounded(content: bytes, options: onnxruntime.SessionOptions, **arguments: Any) -> BoundedSession:
    """Make a session, as `InferenceSession` does, within the time limit.

    Raises:
        ModelError: the time limit is reached.
        Exception: what onnxruntime raises.
    """

    def stop() -> None:
        if hasattr(options, "set_load_cancellation_flag"):  # from onnxruntime 1.21 on
            options.set_load_cancellation_flag(True)

    limit = LOAD_AS_IMAGES * seconds_per_image()
    return bounded(lambda: BoundedSession(content, options, **arguments), stop, limit, "loading it")
