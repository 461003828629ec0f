"""Timing of runs in alternation with a reference graph, and detection of runs disturbed by other work on the machine.

A run on one thread is timed with that thread's own clock, which does not advance while another program occupies the
core. With several threads, that is not enough, because they wait for each other; a run is then considered disturbed if
one of its threads was ready to run but had to wait for a core. Neither method detects slower cores, for example because
a program uses the other hardware thread of a core, or because the host of a virtual machine moves its cores apart,
which slows communication between threads (by factors of 1.5 to 1.8 for minutes on the development machine). The
reference graph detects this if it runs on the same number of threads: its time then correlates with those of the models
at 0.8 to 0.9; on a single thread, it does not correlate at all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

# A run is disturbed if a thread waited for a core for more than this fraction of its time, ...
MOST_WAITED = 0.05
# ... or if, in the same turn, the reference graph took more than this many times its best known time.
SLOWER = 1.2
# Undisturbed runs are consistent if their median is at most this many times their 10 % quantile.
SPREAD = 1.25

FEWEST_RUNS, MOST_RUNS = 10, 1000
REFERENCE_RUNS = 5
# Seconds for which the reference graph runs to warm up the core's caches.
SETTLING = 2e-3


class TimedRun(NamedTuple):
    """A timed run: its duration in seconds and the part of it that a thread spent waiting for a core."""

    seconds: float
    waited: float


class Turn(NamedTuple):
    """Runs of a model, and the time in seconds of a run of the reference graph just before them."""

    reference: float
    runs: list[TimedRun]


@dataclasses.dataclass
class Timings:
    """Runs of a model in alternation with the reference graph.

    Attributes:
        best_reference: best known time of the reference graph on this machine, in seconds; 0 if unknown.
        turns: the turns in chronological order.
    """

    best_reference: float = 0.0
    turns: list[Turn] = dataclasses.field(default_factory=list)

    @property
    def reference(self) -> float:
        """Time of the reference graph when undisturbed, in seconds: the lower quartile of the turns."""
        return float(np.quantile([turn.reference for turn in self.turns], 0.25))

    def all(self) -> list[float]:
        """Return the durations of all runs, in seconds."""
        return [run.seconds for turn in self.turns for run in turn.runs]

    def undisturbed(self) -> list[float]:
        """Return the durations of the undisturbed runs, in seconds."""
        best = min(turn.reference for turn in self.turns)
        slow = SLOWER * (min(best, self.best_reference) if self.best_reference else best)
        return [
            run.seconds
            for turn in self.turns
            for run in turn.runs
            if turn.reference <= slow and run.waited <= MOST_WAITED * run.seconds
        ]

    def representative(self, fewest: int = FEWEST_RUNS) -> tuple[list[float], bool]:
        """Return durations in seconds and whether they are in doubt.

        They are those of the undisturbed runs, which are in doubt if they are inconsistent, or, if there are too few,
        those of all runs, which always are.

        Args:
            fewest: minimum number of undisturbed runs.
        """
        quiet = self.undisturbed()
        if len(quiet) < fewest:
            return self.all(), True
        return quiet, bool(np.median(quiet) > SPREAD * np.quantile(quiet, 0.1))

    def relative(self) -> tuple[float, bool]:
        """Return the median over turns of run time divided by reference time, and whether the turns disagree."""
        ratios = [float(np.median([run.seconds for run in turn.runs])) / turn.reference for turn in self.turns]
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        return float(middle), bool(high > SPREAD * low)


def in_turns(
    run: Callable[[], object],
    reference: Callable[[], object],
    timer: Timer,
    reference_timer: Timer,
    *,
    seconds: float,
    limit: float,
    best_reference: float = 0.0,
    fewest: int = FEWEST_RUNS,
) -> Timings:
    """Run a model in alternation with the reference graph until enough runs are undisturbed or the limit is reached.

    Args:
        run: function that runs the model once.
        reference: function that runs the reference graph once, on the same number of threads.
        timer: timer for the runs of the model.
        reference_timer: timer for the runs of the reference graph.
        seconds: total duration of undisturbed runs that is enough if there are at least `fewest` of them.
        limit: seconds after which to stop in any case, but not before `fewest` runs.
        best_reference: best known time of the reference graph, in seconds; 0 if unknown.
        fewest: minimum number of runs.
    """
    timings = Timings(best_reference)
    block = min(max(seconds / 10, 0.01), 0.1)
    begun = time.perf_counter()
    while True:
        settled = time.perf_counter() + SETTLING
        while time.perf_counter() < settled:
            reference()
        fixed = float(np.median([reference_timer(reference).seconds for _ in range(REFERENCE_RUNS)]))
        runs: list[TimedRun] = []
        left = block
        while left > 0 and len(runs) < MOST_RUNS // 10:
            runs.append(timer(run))
            left -= runs[-1].seconds
        timings.turns.append(Turn(fixed, runs))
        quiet, n = timings.undisturbed(), len(timings.all())
        enough = len(quiet) >= fewest and (sum(quiet) >= seconds or len(quiet) >= MOST_RUNS)
        if enough or (n >= fewest and time.perf_counter() - begun > limit):
            return timings


class Timer:
    """Timer of runs and of the time that threads of this process spend waiting for a core meanwhile.

    On Linux, the kernel reports the waiting time of each thread. On macOS, it is derived from the clock of the calling
    thread, for that thread only. On Windows, such clocks are too coarse, so waiting is not detected.
    """

    def __init__(self, threads: int) -> None:
        """Start watching the threads that exist now.

        Args:
            threads: number of threads within a run. With 1, the calling thread's own clock is used. With 0, no threads
                are watched, because they wait for something other than other programs, such as a GPU.
        """
        has_clock = sys.platform != "win32"
        self._clock = time.thread_time if threads == 1 and has_clock else time.perf_counter
        self._busy_clock = time.thread_time if threads and has_clock else time.perf_counter
        self._files = _open_statistics() if threads > 1 else []

    def __call__(self, run: Callable[[], object]) -> TimedRun:
        """Run once and return the timing."""
        waited, busy_start, start = self._waited(), self._busy_clock(), self._clock()
        run()
        seconds, busy = self._clock() - start, self._busy_clock() - busy_start
        if not self._files:
            return TimedRun(seconds, seconds - busy)
        return TimedRun(seconds, max(now - then for now, then in zip(self._waited(), waited, strict=True)))

    def _waited(self) -> list[float]:
        """Return the seconds that each watched thread has waited for a core since it started."""
        return [_second_number(file) / 1e9 for file in self._files]

    def close(self) -> None:
        """Stop watching threads."""
        for file in self._files:
            os.close(file)
        self._files = []


def _open_statistics() -> list[int]:
    """Open the scheduler statistics of each thread of this process, if the system provides them."""
    files: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            files += [os.open(thread / "schedstat", os.O_RDONLY)]
    return files


def _second_number(file: int) -> int:
    """Return the waiting time from "nanoseconds-running nanoseconds-waiting slices"; 0 if the thread has ended."""
    try:
        return int(os.pread(file, 64, 0).split()[1])
    except (OSError, IndexError, ValueError):
        return 0
