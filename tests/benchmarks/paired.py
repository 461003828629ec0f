"""Timings as ratios: alternatives run in turn within one process, so that the machine's moods meet them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping


def machine() -> str:
    """Facts that a reader needs beside any number."""
    return f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def compare(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one warm-up round; the order turns with the rounds."""
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            contestants[name]()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: Mapping[str, list[float]], base: str) -> None:
    """A row a contestant: median time, and the round-by-round ratio to `base` as median (lowest to highest)."""
    width = max(map(len, seconds))
    print(f"{'':{width}}  median     ratio to {base}")
    for name, times in seconds.items():
        ratios = sorted(t / b for t, b in zip(times, seconds[base], strict=True))
        spread = f"{statistics.median(ratios):6.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name:{width}}  {statistics.median(times) * 1e3:8.1f} ms  {spread}")
