"""onnxruntime sessions that can be stopped by a time limit or by Ctrl-C.

A model is a program, and a model with an infinite `Loop` never returns. Python handles Ctrl-C only in the main thread,
between two bytecode instructions, so callers never enter onnxruntime themselves: a helper thread does, and the caller
waits. `RunOptions.terminate`, which onnxruntime checks between nodes, stops a run; `set_load_cancellation_flag` stops
loading. A single node cannot be stopped: its thread is abandoned and counted by `unfinished`.
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
# The largest published networks take about 20 s per image on one slow core.
SECONDS_PER_IMAGE = 120.0
# Loading evaluates the constant parts of a graph; its time limit is that of this many images.
LOAD_AS_IMAGES = 5
# Grace period in seconds after a stop before the thread is abandoned.
PATIENCE = 1.0
# Polling interval in seconds. On Windows, Ctrl-C is only handled when a wait ends.
_TICK = 0.1

# Substrings of onnxruntime's error messages when memory or threads run out.
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "pthread_create failed")

_Result = TypeVar("_Result")


class _Call:
    """A call into onnxruntime that runs in a helper thread and can be stopped from any thread."""

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
        """Whether the grace period since the call was stopped has expired; false for calls that were not stopped."""
        return time.monotonic() > self.stopped_at + PATIENCE


_calls: set[_Call] = set()
"""Calls that have not returned yet. No lock is needed: single operations on a set are atomic."""


class _Helper:
    """A thread that executes the calls of one caller sequentially; it ends when the helper is garbage-collected."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(self.calls,), daemon=True).start()

    def __del__(self) -> None:
        self.calls.put(None)


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # release its inputs and outputs


_of_caller = threading.local()


def _forget_threads() -> None:
    """Reset the state in a child process after a fork, which does not copy the helper threads."""
    global _of_caller  # noqa: PLW0603 - threads are process-wide
    _of_caller = threading.local()
    _calls.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def bounded(call: Callable[[], _Result], stop: Callable[[], None], seconds: float, what: str) -> _Result:
    """Call onnxruntime in a helper thread, with a time limit.

    Args:
        call: calls onnxruntime.
        stop: asks onnxruntime to return from the call.
        seconds: the time limit.
        what: description of the operation, for error messages.

    Raises:
        ModelError: the time limit was reached, or `stop_all` was called.
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
            raise MachineError(
                f"no thread can be started: {error}; lower --threads, or raise the limits on memory and processes"
            ) from None
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
        raise ModelError(f"{what} exceeded the limit of {seconds:g} s; set {LIMIT_VARIABLE}=N to allow N s per image")
    if made.stopped_at < math.inf:
        raise ModelError(f"{what} was stopped")
    if made.error is not None:
        raise _no_memory(what) if _tells_of_memory(made.error) else made.error
    return made.result  # type: ignore[no-any-return]


def _tells_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _no_memory(what: str) -> MachineError:
    return MachineError(f"onnxruntime is out of memory ({what}); lower --threads or --batch-size")


def run_directly() -> None:
    """Run models in the calling thread without a time limit from now on; for timing processes, which can be killed."""
    global _direct  # noqa: PLW0603 - the setting is process-wide
    _direct = True


_direct = False


def stop_all() -> None:
    """Stop all onnxruntime calls in all threads; used on Ctrl-C."""
    for call in list(_calls):
        call.stop()


def unfinished() -> int:
    """Return the number of calls that have not returned; if there are any, exit with `os._exit`."""
    return len(_calls)


def seconds_per_image() -> float:
    """Return the time limit per image in seconds: `$LEEPFROG_SECONDS_PER_IMAGE` if set, otherwise SECONDS_PER_IMAGE.

    Raises:
        UsageError: the variable is not a positive number, or exceeds one day.
    """
    return seconds_set(LIMIT_VARIABLE, SECONDS_PER_IMAGE, most=86_400)


def seconds_set(variable: str, default: float, most: float) -> float:
    """Return the number of seconds set by an environment variable, or the default if it is unset or empty.

    Args:
        variable: name of the variable.
        default: default number of seconds.
        most: maximum number of seconds.

    Raises:
        UsageError: the variable is not a positive number, or exceeds `most`.
    """
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= most:
        raise UsageError(f"{variable}: {text[:40]!r} is not a positive number of seconds, at most {most:,.0f}")
    return seconds


class BoundedSession(onnxruntime.InferenceSession):  # type: ignore[misc]  # onnxruntime has no types
    """An onnxruntime session whose runs respect the time limit and stop on Ctrl-C.

    Attributes:
        fallback: note about nodes that run on the CPU instead of the requested device; "" if there are none.
    """

    fallback: str = ""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[Any]], run_options: Any = None
    ) -> list[Any]:
        """Run the model; same arguments and result as `InferenceSession.run`.

        Raises:
            ModelError: the run fails or reaches the time limit; the message is the reason alone.
            MachineError: out of memory.
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
    """Load a model into a session within the time limit; same arguments as `InferenceSession`.

    Raises:
        ModelError: the time limit was reached.
        Exception: any error that onnxruntime raises.
    """

    def stop() -> None:
        if hasattr(options, "set_load_cancellation_flag"):  # since onnxruntime 1.21
            options.set_load_cancellation_flag(True)

    limit = LOAD_AS_IMAGES * seconds_per_image()
    return bounded(lambda: BoundedSession(content, options, **arguments), stop, limit, "loading the model")
