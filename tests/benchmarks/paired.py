"""Paired timings: alternatives are interleaved in one process, so that fluctuations of the machine affect all."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from leepfrog.inference.device import available_threads

HEADER = "| what | against | ratio median (lowest to highest) | rounds |\n|---|---|---:|---:|"


def machine() -> str:
    """Return a one-line description of the machine."""
    return f"{platform.machine()}, {available_threads()} cores, Python {platform.python_version()}"


def facts() -> Iterator[str]:
    """Yield a detailed description of machine and packages as list items."""
    try:
        about = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in about if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or ARM, which lacks this line
        processor = platform.processor() or "processor unknown"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"- {processor}, {machine()}, {memory:.0f} GiB of memory"
    yield "- " + ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("onnxruntime", "torch", "numpy", "numba", "pillow")
    )
    yield "- load average at the start: " + ", ".join(f"{load:.1f}" for load in os.getloadavg())


@dataclasses.dataclass(frozen=True)
class Row:
    """Row of the table of ratios.

    Attributes:
        what: name of the contestant.
        against: name of the contestant that it is compared with.
        seconds: time of `what` per round, in seconds.
        base: time of `against` per round, in seconds.
    """

    what: str
    against: str
    seconds: Sequence[float]
    base: Sequence[float]

    def __str__(self) -> str:
        ratios = sorted(s / b for s, b in zip(self.seconds, self.base, strict=True))
        spread = f"{_short(statistics.median(ratios))} ({_short(ratios[0])} to {_short(ratios[-1])})"
        sides = f"{self.what}, {_median(self.seconds)} | {self.against}, {_median(self.base)}"
        return f"| {sides} | {spread} | {len(ratios)} |"


def compare(
    contestants: Mapping[str, Callable[[], object]], rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Return the time of each contestant per round, in seconds; the order rotates from round to round."""
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1 if warm_up else 0, rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            contestants[name]()
            took = time.perf_counter() - start
            if number >= 0:
                seconds[name].append(took)
                print(f"round {number + 1} of {rounds}: {took:.3f} s {name}", file=sys.stderr, flush=True)
    return seconds


def rows_of(seconds: Mapping[str, list[float]], pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """Return a row for each pair of contestants, the first compared with the second."""
    return [Row(what, against, seconds[what], seconds[against]) for what, against in pairs]


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table; a ratio below 1 means that the first contestant is faster."""
    return "\n".join([HEADER, *map(str, rows)])


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.095 else f"{ratio:.2g}"


def _median(seconds: Sequence[float]) -> str:
    median = statistics.median(seconds)
    return f"{median:.1f} s" if median >= 1 else f"{1e3 * median:.3g} ms"
