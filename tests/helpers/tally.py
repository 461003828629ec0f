"""Counters of the bad inputs and faults tried in a test run, and of their outcomes; conftest.py prints them."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis

INPUTS: Counter[str] = Counter()
"""Number of inputs tried, by kind."""
OUTCOMES: Counter[str] = Counter()
"""Number of fuzzed inputs by kind and outcome, for example "images decoded" and "images refused"."""
FAULTS: Counter[str] = Counter()
"""Number of faults injected into real processes, by kind."""
HANGS: Counter[str] = Counter()
"""Number of fuzzed inputs that exceeded the time limit, by kind."""
TRACEBACKS: list[str] = []
"""Commands that ended with a traceback or an internal error."""

TIMES = float(os.environ.get("LEEPFROG_FUZZ", "1"))
"""Factor on the number of examples that CI tries."""


SECONDS = 120.0
"""Time limit per fuzzed input, in seconds, for a busy machine; most inputs take milliseconds."""
KEPT = Path(tempfile.gettempdir()) / "leepfrog-hangs"
"""Folder of inputs that exceeded the time limit."""


class Hang(BaseException):
    """Raised within code that takes too long; a BaseException, so that `except Exception` does not catch it."""


@contextlib.contextmanager
def limited(kind: str, seconds: float | None = None, **inputs: bytes) -> Iterator[None]:
    """Fail, count a hang and keep the inputs if the block exceeds its time limit.

    If native code does not return to Python, the process is ended after twice the limit.

    Args:
        kind: kind of the inputs, as for `outcome`.
        seconds: time limit, by default SECONDS.
        inputs: content of each file, by its name with "_" for ".".
    """
    seconds = SECONDS if seconds is None else seconds
    KEPT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{kind.replace(' ', '-')}-", dir=KEPT))
    for name, content in inputs.items():
        (folder / ".".join(name.rsplit("_", 1))).write_bytes(content)
    hung = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal hung
        hung = True
        raise Hang

    has_alarm = hasattr(signal, "setitimer")  # not on Windows
    with open(folder / "stack.txt", "w") as stack:
        faulthandler.dump_traceback_later(2 * seconds, exit=True, file=stack)
        if has_alarm:
            before = signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        except Hang:
            pass
        finally:
            if has_alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            faulthandler.cancel_dump_traceback_later()
            if not hung:
                shutil.rmtree(folder)
    if hung:
        HANGS[kind] += 1
        raise AssertionError(f"{kind}: more than {seconds:g} s; the input is kept in {folder}")


def hang(kind: str, name: str, content: bytes) -> Path:
    """Count and keep an input that hung another process; return the path of the kept file."""
    HANGS[kind] += 1
    KEPT.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f"{kind.replace(' ', '-')}-", dir=KEPT)) / name
    path.write_bytes(content)
    return path


def examples(n: int) -> hypothesis.settings:
    """Return Hypothesis settings for a fuzz test that tries n examples in CI."""
    return hypothesis.settings(
        max_examples=max(1, round(n * TIMES)),
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=True,
    )


def outcome(kind: str, what: str) -> None:
    """Count an input of a kind with its outcome."""
    INPUTS[kind] += 1
    OUTCOMES[f"{kind} {what}"] += 1


def counts() -> dict[str, Any]:
    """Return all counters as plain values."""
    return {name: dict(count) for name, count in _COUNTERS.items()} | {"tracebacks": list(TRACEBACKS)}


def add(others: Mapping[str, Any]) -> None:
    """Add the result of `counts` in another process."""
    for name, count in _COUNTERS.items():
        count.update(others.get(name, {}))
    TRACEBACKS.extend(others.get("tracebacks", []))


_COUNTERS = {"inputs": INPUTS, "outcomes": OUTCOMES, "faults": FAULTS, "hangs": HANGS}


def tell() -> list[str]:
    """Return the lines of the summary at the end of a run."""

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))

    lines = []
    if INPUTS:
        lines.append(f"inputs tried: {listed(INPUTS)}; {INPUTS.total():,} in all")
    if OUTCOMES:
        lines.append(f"of the fuzzed ones: {listed(OUTCOMES)}")
        lines.append(f"hangs: {HANGS.total()}" + (f" ({listed(HANGS)}), kept in {KEPT}" if HANGS else ""))
    if FAULTS:
        lines.append(f"faults injected: {listed(FAULTS)}; {FAULTS.total():,} in all")
    if lines:
        lines.append(f"tracebacks and internal errors: {len(TRACEBACKS)}")
    return lines
