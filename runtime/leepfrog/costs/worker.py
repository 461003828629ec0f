"""Worker that measures the cost of a model in a process of its own: `python -m leepfrog.costs.worker`.

It is a separate module so that the process loads only onnxruntime, NumPy and the model, and no scores. It is started by
`leepfrog.costs.places.here`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from leepfrog.costs.timing import Timer, in_turns
from leepfrog.errors import LeepfrogError, MachineError, ModelError
from leepfrog.files import printable, sha256_of
from leepfrog.inference.bounded import run_directly
from leepfrog.inference.device import available_threads
from leepfrog.inference.devices import DEVICES
from leepfrog.inference.load import load_file, read_bytes

# Latencies are divided by that of this graph to make them comparable between moments and machines. The graph is created
# by leepfrog_exporter.latency_reference.
REFERENCE = Path(__file__).with_name("reference.onnx")

WARM_UPS = 3
BATCH = 16
# Maximum extra time in seconds, once for single images and once for batches, to collect enough undisturbed runs.
PATIENCE = 1.5


def peak_memory() -> int:
    """Return the peak memory use of this process, in bytes.

    On Linux, ru_maxrss would include the memory of the parent at the time of the fork; the status file does not.

    Raises:
        MachineError: the system does not report it.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not on macOS and Windows
        pass
    if sys.platform == "win32":
        return _peak_on_windows()
    try:
        import resource
    except ImportError:
        raise MachineError("this system does not report the peak memory of a process") from None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else held * 1024


def _peak_on_windows() -> int:
    """Return the peak working set, in bytes."""
    import ctypes

    sizes = ("peak", "now", "peak_paged", "paged", "peak_nonpaged", "nonpaged", "pagefile", "peak_pagefile")

    class Counters(ctypes.Structure):
        """The struct PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("cb", ctypes.c_uint32), ("faults", ctypes.c_uint32), *((size, ctypes.c_size_t) for size in sizes)
        )  # fmt: skip

    kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    counters = Counters(cb=ctypes.sizeof(Counters))
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        raise MachineError("Windows does not report the peak memory of this process")
    return int(counters.peak)


def main(path: str, sha256: str, device: str, threads: int, seconds: float, best_reference: float) -> dict[str, object]:
    """Load a scoring model and measure it on single images and on batches.

    Args:
        path: path of the model file.
        sha256: SHA-256 of the file.
        device: name of the device, such as "cpu" (see `leepfrog.inference.devices`).
        threads: number of threads within one run.
        seconds: measuring time in seconds, spent once on single images and once on batches.
        best_reference: best known time of the reference graph, in seconds; 0 if unknown.

    Returns:
        The fields of `leepfrog.costs.cost.Cost`, except the number of threads.

    Raises:
        ModelError: the model cannot be loaded or run.
        MachineError: the device or the memory is not available, or the peak memory cannot be determined.
    """
    try:
        return _costs(path, sha256, device, threads, seconds, best_reference)
    except (ModelError, MachineError) as error:
        where = printable(path)
        raise type(error)(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def _costs(
    path: str, sha256: str, device: str, threads: int, seconds: float, best_reference: float
) -> dict[str, object]:
    """Measure the values that `main` returns."""
    before = peak_memory()
    session = load_file(Path(path), sha256, device, threads)
    taken = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal((1, *taken.shape[1:])).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    batch = np.repeat(image, BATCH, axis=0)
    for _ in range(WARM_UPS):
        session.run(names, {taken.name: image})
    run_directly()
    peak = peak_memory()

    # Waiting is only a sign of other programs if the threads run on the CPU and there are not more of them than cores.
    on_cpu, limit = DEVICES.named(device).uses_cores, min(10 * seconds, seconds + PATIENCE)
    timer = Timer(threads if on_cpu and threads <= available_threads() else 0)
    within = min(threads, available_threads())
    reference, reference_timer = _reference(device, within), Timer(1 if within == 1 and on_cpu else 0)
    session.run(names, {taken.name: image})
    single = alone = in_turns(
        lambda: session.run(names, {taken.name: image}),
        reference, timer, reference_timer, seconds=seconds, limit=limit, best_reference=best_reference,
    )  # fmt: skip
    runs, doubtful = single.representative()
    session.run(names, {taken.name: batch})
    batches = in_turns(
        lambda: session.run(names, {taken.name: batch}),
        reference, timer, reference_timer, seconds=seconds, limit=0 if doubtful else limit,
        best_reference=best_reference, fewest=1,
    )  # fmt: skip
    timer.close()
    if threads > 1:
        on_one, one = load_file(Path(path), sha256, device, 1), Timer(1 if on_cpu else 0)
        on_one.run(names, {taken.name: image})
        alone = in_turns(
            lambda: on_one.run(names, {taken.name: image}),
            _reference(device, 1), one, one, seconds=seconds, limit=limit,
        )  # fmt: skip
        if doubtful:  # one thread's own clock excludes other programs, and several threads should not be slower
            runs = min(runs, alone.representative()[0], key=np.median)
    relative, relative_doubtful = alone.relative()
    batch_runs, batch_doubtful = batches.representative(fewest=1)
    throughput = BATCH / float(np.median(batch_runs))
    return {
        "latency": float(np.median(runs)),
        "latency_p95": float(np.quantile(runs, 0.95)),
        "relative_latency": relative,
        "throughput": max(throughput, 1 / float(np.median(runs))) if batch_doubtful else throughput,
        "memory": peak,
        "memory_of_model": peak - before,
        "n_runs": len(runs),
        "reference": single.reference,
        "doubtful": ["latency", "latency_p95"] * doubtful
        + ["relative_latency"] * relative_doubtful
        + ["throughput"] * batch_doubtful,
    }


def _reference(device: str, threads: int) -> Callable[[], object]:
    """Return a function that runs the reference graph once on this many threads."""
    session = load_file(REFERENCE, sha256_of(read_bytes(REFERENCE)), device, threads)
    taken = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal(taken.shape).astype(np.float32)
    return lambda: session.run(None, {taken.name: image})


if __name__ == "__main__":
    path, sha256, device, *numbers = sys.argv[1:]
    try:
        print(json.dumps(main(path, sha256, device, int(numbers[0]), float(numbers[1]), float(numbers[2]))))  # noqa: T201
    except LeepfrogError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}))  # noqa: T201
