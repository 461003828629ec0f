"""What a model costs, measured in a process that does nothing else: `python -m leepfrog.inference.footprint`.

Kept apart from the rest so that the process holds onnxruntime, NumPy and the model, and no scores. Its parent is
`leepfrog.inference.cost`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from leepfrog.errors import LeepfrogError, ModelError
from leepfrog.files import printable, sha256_of
from leepfrog.inference.bounded import run_directly
from leepfrog.inference.load import load_file, read_bytes

# What latencies are held against, so that those of two moments or machines compare (leepfrog_exporter.calibration).
CALIBRATION = Path(__file__).with_name("calibration.onnx")

WARM_UPS = 3
FEWEST_RUNS, MOST_RUNS = 10, 1000
TURNS = 11
BATCH = 16


def peak_memory() -> int:
    """The most bytes of memory that this process has held at once.

    Linux's ru_maxrss would count the parent's memory at the time of the fork; the status file does not.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def main(path: str, sha256: str, device: str, threads: int, seconds: float) -> dict[str, object]:
    """Load a scoring model, run it alone and in batches.

    Args:
        path: the file.
        sha256: its hash.
        device: "cpu" or "cuda".
        threads: threads within one run.
        seconds: how long to time single images, and batches.
    """
    before = peak_memory()
    session = load_file(Path(path), sha256, device, threads)
    taken = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal((1, *taken.shape[1:])).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    try:
        for _ in range(WARM_UPS):
            session.run(names, {taken.name: image})
    except ModelError as error:
        raise ModelError(f"{printable(path)}: {error}") from None
    run_directly()
    latencies: list[float] = []
    while len(latencies) < FEWEST_RUNS or (sum(latencies) < seconds and len(latencies) < MOST_RUNS):
        start = time.perf_counter()
        session.run(names, {taken.name: image})
        latencies.append(time.perf_counter() - start)
    peak = peak_memory()
    batch = np.repeat(image, BATCH, axis=0)
    session.run(names, {taken.name: batch})
    times: list[float] = []
    while not times or sum(times) < seconds:
        start = time.perf_counter()
        session.run(names, {taken.name: batch})
        times.append(time.perf_counter() - start)
    alone = session if threads == 1 else load_file(Path(path), sha256, device, 1)
    return {
        "latencies": latencies,
        "batch_seconds": times,
        "batch": BATCH,
        "memory_before": before,
        "memory": peak,
        "relative": _relative(lambda: alone.run(names, {taken.name: image}), device, seconds),
    }


def _relative(run: Callable[[], object], device: str, seconds: float) -> float:
    """A run's time by that of the calibration graph, in turns, so that what slows one slows the other.

    Both on one thread: threads that wait for each other suffer from other processes the more, the longer the run.
    Each is repeated for as long as the other, some milliseconds at a time: of a single short run, other processes would
    stop few and those for long, of a long one nearly all for a part.
    """
    session = load_file(CALIBRATION, sha256_of(read_bytes(CALIBRATION)), device, 1)
    taken = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal(taken.shape).astype(np.float32)

    def calibrate() -> None:
        session.run(None, {taken.name: image})

    for _ in range(WARM_UPS):
        calibrate()
    quickest = min(_times(run, FEWEST_RUNS)), min(_times(calibrate, FEWEST_RUNS))
    block = max(seconds / (2 * TURNS), *quickest)
    often = [max(1, round(block / each)) for each in quickest]
    turns = [(sum(_times(run, often[0])), sum(_times(calibrate, often[1]))) for _ in range(TURNS)]
    return float(np.median([own / fixed for own, fixed in turns])) * often[1] / often[0]


def _times(run: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))))  # noqa: T201
    except LeepfrogError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}))  # noqa: T201
