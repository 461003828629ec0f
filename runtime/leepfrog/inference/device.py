"""Execution providers, session options, threads, and the environment recorded in receipts."""

from __future__ import annotations

import functools
import math
import os
import platform
import reprlib
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import PIL

from leepfrog import __version__
from leepfrog.errors import MachineError, UsageError, one_line
from leepfrog.inference.bounded import seconds_per_image
from leepfrog.inference.devices import DEVICES


def providers(device: str, threads: int) -> list[tuple[str, dict[str, str]]]:
    """Return the execution providers to request from onnxruntime, with their options.

    Raises:
        UsageError: the device is unknown.
        MachineError: the installed onnxruntime was built without the device's provider.
    """
    wanted = DEVICES.named(device)
    available = onnxruntime.get_available_providers()
    if wanted.provider not in available:
        raise MachineError(
            f"this onnxruntime {onnxruntime.__version__} has no {wanted.provider} (it has {', '.join(available)}); "
            f"{wanted.install}"
        )
    return wanted.providers_with(threads)


# Values of graph_optimization_level, which onnxruntime exposes as an attribute, not as a configuration entry.
_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
OPTIONS_VARIABLE = "LEEPFROG_ORT_OPTIONS"

# More threads than cores only cost memory. Some excess is allowed, so that the same command works on other machines.
THREADS_PER_CORE, FEWEST_ALLOWED = 4, 16


def ort_options() -> dict[str, str]:
    """Return the session options in `$LEEPFROG_ORT_OPTIONS`, written "key=value key=value", sorted by key.

    Valid keys are onnxruntime's session configuration keys (such as session.disable_quant_qdq) and
    graph_optimization_level (disable, basic, extended or all). Options may change a model's outputs, so they are part
    of the cache key and of every receipt.

    Raises:
        UsageError: the variable cannot be parsed.
    """
    settings: dict[str, str] = {}
    for entry in os.environ.get(OPTIONS_VARIABLE, "").split():
        key, equals, value = entry.partition("=")
        known = key != "graph_optimization_level" or value in _LEVELS
        if not key or not equals or not known or key in settings:
            raise UsageError(
                f"{OPTIONS_VARIABLE}: {entry!r} is invalid or repeated; expected space-separated key=value pairs, such "
                "as session.disable_quant_qdq=1 graph_optimization_level=basic"
            )
        settings[key] = value
    return dict(sorted(settings.items()))


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return session options with this many threads per run, including the options in `ort_options`.

    Raises:
        UsageError: onnxruntime rejects an option. It ignores unknown keys.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Otherwise its threads spin for about 50 ms after a run, on cores that decoding or another session could use.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for key, value in ort_options().items():
        if key == "graph_optimization_level":
            options.graph_optimization_level = _LEVELS[value]
            continue
        try:
            options.add_session_config_entry(key, value)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise UsageError(f"{OPTIONS_VARIABLE}: onnxruntime rejects {key[:60]!r}: {one_line(error)}") from None
    return options


def check_execution(device: str, threads: int | None) -> None:
    """Check the prerequisites of all sessions before any work is done.

    Raises:
        UsageError: the number of threads is out of range, the device is unknown, or an environment variable is invalid.
        MachineError: the device is not available.
    """
    check_threads(threads)
    providers(device, 1)
    ort_options()
    seconds_per_image()


def check_threads(threads: int | None) -> None:
    """Check that a number of threads is in range.

    The maximum is THREADS_PER_CORE per core, or FEWEST_ALLOWED on small machines.

    Raises:
        UsageError: the number is out of range.
    """
    cores = available_threads()
    most = max(FEWEST_ALLOWED, THREADS_PER_CORE * cores)
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= most):
        raise UsageError(
            f"threads must be 1 to {most} (this process may use {cores} core(s)), not {reprlib.repr(threads)}"
        )


def available_threads() -> int:
    """Return the number of cores available to this process, given its CPU affinity and any container quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota()))


def environment(device: str, threads: int) -> dict[str, Any]:
    """Return everything besides data and models that may change a result, such as versions, options and threads.

    The recorded provider is the one in use: falling back to another provider is an error (see `load_file`).
    """
    return {
        "leepfrog": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        # Not imported, because a process that measures a model's memory must not load these packages.
        "numba": metadata.version("numba"),
        "scipy": metadata.version("scipy"),
        "pillow": PIL.__version__,
        "provider": DEVICES.named(device).provider,
        "provider_options": dict(DEVICES.named(device).providers),
        "ort_options": ort_options(),
        "threads": threads,
        "machine": platform.machine(),
        "processor": _processor(),
        "system": platform.system(),
    }


@functools.cache
def _processor(known: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the CPU; "" if the system does not report it."""
    try:
        lines = known.read_text().splitlines()
    except (OSError, UnicodeDecodeError):  # not on macOS and Windows
        return ""
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "")


def _quota(control: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the CPU quota of the control group (cgroup v2) in cores, rounded up."""
    try:
        quota, period = control.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max"
        return 1 << 16
