"""Time runs in turns with a reference graph, and tell which of them other work on the machine disturbed.

A run on one thread is timed by that thread's own clock, which does not advance while another program has the core.
With several threads that is not enough, because they wait for each other: there a run is disturbed if one of its
threads was ready to run but had to wait for a core. Neither shows what slows the cores themselves, such as a program on
the other hardware thread of a core, or a virtual machine whose host moves its cores apart, which makes all exchange
between threads slower (by 1.5 to 1.8 times where this was written, for minutes). The reference graph shows that on as
many threads: its time correlates with those of models by 0.8 to 0.9, and not at all if it runs on one.
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

# A run is disturbed if a thread waited for a core for more than this part of its time, ...
MOST_WAITED = 0.05
# ... or if the reference graph took this many times its best known time in the same turn.
SLOWER = 1.2
# Undisturbed runs agree: their median is at most this many times their 10 % quantile.
SPREAD = 1.25

FEWEST_RUNS, MOST_RUNS = 10, 1000
REFERENCE_RUNS = 5
# Seconds for which the reference graph runs until its data are in the core's caches.
SETTLING = 2e-3


class TimedRun(NamedTuple):
    """A timed run: its seconds, and for how many of them a thread waited for a core."""

    seconds: float
    waited: float


class Turn(NamedTuple):
    """Runs of a model, and the seconds of a run of the reference graph just before them."""

    reference: float
    runs: list[TimedRun]


@dataclasses.dataclass
class Timings:
    """Runs of a model in turns with the reference graph.

    Attributes:
        best_reference: the reference graph's best known seconds on this machine, 0 if there are none.
        turns: in the order of time.
    """

    best_reference: float = 0.0
    turns: list[Turn] = dataclasses.field(default_factory=list)

    @property
    def reference(self) -> float:
        """Seconds of the reference graph when it was quick: the lower quartile of the turns."""
        return float(np.quantile([turn.reference for turn in self.turns], 0.25))

    def all(self) -> list[float]:
        """Seconds of all runs."""
        return [run.seconds for turn in self.turns for run in turn.runs]

    def undisturbed(self) -> list[float]:
        """Seconds of the runs that nothing disturbed."""
        best = min(turn.reference for turn in self.turns)
        slow = SLOWER * (min(best, self.best_reference) if self.best_reference else best)
        return [
            run.seconds
            for turn in self.turns
            for run in turn.runs
            if turn.reference <= slow and run.waited <= MOST_WAITED * run.seconds
        ]

    def representative(self, fewest: int = FEWEST_RUNS) -> tuple[list[float], bool]:
        """Seconds of the undisturbed runs, and False; or of all runs, and True, if too few were undisturbed.

        Args:
            fewest: undisturbed runs that are enough. They are in doubt, too, if they do not agree.
        """
        quiet = self.undisturbed()
        if len(quiet) < fewest:
            return self.all(), True
        return quiet, bool(np.median(quiet) > SPREAD * np.quantile(quiet, 0.1))

    def relative(self) -> tuple[float, bool]:
        """Time of a run as a multiple of the reference graph's, the turns' median; and whether the turns disagree."""
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
    """Run a model in turns with the reference graph, until enough runs were undisturbed or the limit is reached.

    Args:
        run: runs the model once.
        reference: runs the reference graph once, on as many threads.
        timer: of the model's runs.
        reference_timer: of the reference graph's runs.
        seconds: of undisturbed runs that are enough, if they are at least `fewest`.
        limit: seconds after which it ends in any case, though not before `fewest` runs.
        best_reference: the reference graph's best known seconds.
        fewest: runs.
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
    """Times runs, and how long a thread of this process waited for a core meanwhile.

    On Linux the kernel says that of each thread. On macOS the clock of the calling thread says it of that thread. On
    Windows such clocks are too coarse, so nothing is known.
    """

    def __init__(self, threads: int) -> None:
        """Watch the threads that exist now.

        Args:
            threads: within a run. 1: the calling thread, whose own clock is used. 0: no threads are watched, because
                they wait for something else than other programs, such as a GPU.
        """
        has_clock = sys.platform != "win32"
        self._clock = time.thread_time if threads == 1 and has_clock else time.perf_counter
        self._busy_clock = time.thread_time if threads and has_clock else time.perf_counter
        self._files = _open_statistics() if threads > 1 else []

    def __call__(self, run: Callable[[], object]) -> TimedRun:
        """Run once."""
        waited, busy_start, start = self._waited(), self._busy_clock(), self._clock()
        run()
        seconds, busy = self._clock() - start, self._busy_clock() - busy_start
        if not self._files:
            return TimedRun(seconds, seconds - busy)
        return TimedRun(seconds, max(now - then for now, then in zip(self._waited(), waited, strict=True)))

    def _waited(self) -> list[float]:
        """Seconds that each thread has waited for a core since it began."""
        return [_second_number(file) / 1e9 for file in self._files]

    def close(self) -> None:
        """Watch no longer."""
        for file in self._files:
            os.close(file)
        self._files = []


def _open_statistics() -> list[int]:
    """The scheduler's statistics of each of this process's threads, where the system has them."""
    files: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            files += [os.open(thread / "schedstat", os.O_RDONLY)]
    return files


def _second_number(file: int) -> int:
    """Of "nanoseconds-running nanoseconds-waiting slices"; 0 if the thread has ended."""
    try:
        return int(os.pread(file, 64, 0).split()[1])
    except (OSError, IndexError, ValueError):
        return 0
