"""Devices and threads: execution providers, session options, the environment recorded in receipts."""

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
    """The execution providers to ask onnxruntime for, and their options.

    Raises:
        UsageError: an unknown device.
        MachineError: this onnxruntime was not built for the device.
    """
    wanted = DEVICES.named(device)
    available = onnxruntime.get_available_providers()
    if wanted.provider not in available:
        raise MachineError(
            f"this onnxruntime {onnxruntime.__version__} has no {wanted.provider} (it has {', '.join(available)}); "
            f"{wanted.install}"
        )
    return wanted.providers_with(threads)


# Session settings of onnxruntime that are attributes, not configuration entries.
_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
OPTIONS_VARIABLE = "LEEPFROG_ORT_OPTIONS"

# More threads than cores only cost memory; some are allowed, so that a command works on several machines.
THREADS_PER_CORE, FEWEST_ALLOWED = 4, 16


def ort_options() -> dict[str, str]:
    """The session options in `$LEEPFROG_ORT_OPTIONS`, written "key=value key=value", sorted by key.

    Keys are those of onnxruntime's session configuration (such as session.disable_quant_qdq), and
    graph_optimization_level (disable, basic, extended or all). They may change a model's outputs, so they are part
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
                f"{OPTIONS_VARIABLE}: {entry!r} is not understood, or twice there; key=value, blanks between, as in "
                "session.disable_quant_qdq=1 graph_optimization_level=basic"
            )
        settings[key] = value
    return dict(sorted(settings.items()))


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options of a session with this many threads per run, including those of `ort_options`.

    Raises:
        UsageError: onnxruntime refuses one. It ignores unknown keys.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Between runs its threads would wait actively for some 50 ms, on cores that decoding or another session could use.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for key, value in ort_options().items():
        if key == "graph_optimization_level":
            options.graph_optimization_level = _LEVELS[value]
            continue
        try:
            options.add_session_config_entry(key, value)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise UsageError(f"{OPTIONS_VARIABLE}: onnxruntime refuses {key[:60]!r}: {one_line(error)}") from None
    return options


def check_execution(device: str, threads: int | None) -> None:
    """Check, before any work, what all sessions need.

    Raises:
        UsageError: a number of threads out of range, an unknown device, or an invalid `$LEEPFROG_...` variable.
        MachineError: the device is absent.
    """
    check_threads(threads)
    providers(device, 1)
    ort_options()
    seconds_per_image()


def check_threads(threads: int | None) -> None:
    """UsageError where a number of threads is less than 1 or more than THREADS_PER_CORE per core."""
    cores = available_threads()
    most = max(FEWEST_ALLOWED, THREADS_PER_CORE * cores)
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= most):
        raise UsageError(
            f"threads must be 1 to {most} here, where this process may use {cores} core(s), not {reprlib.repr(threads)}"
        )


def available_threads() -> int:
    """Cores that this process may use: its CPU affinity, and a container's quota where one is set."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota()))


def environment(device: str, threads: int) -> dict[str, Any]:
    """Everything besides data and models that may change a result: versions, provider, options, threads, machine.

    The provider is the one in use: a session that falls back to another is an error (see `load_file`).
    """
    return {
        "leepfrog": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        # Not imported here: a process that measures a model's memory must not hold them.
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
    """The processor's name, "" where the system does not report it."""
    try:
        lines = known.read_text().splitlines()
    except (OSError, UnicodeDecodeError):  # not on macOS and Windows
        return ""
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, "")


def _quota(control: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Whole cores of the control group's quota (cgroup v2); a fraction is rounded up."""
    try:
        quota, period = control.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max"
        return 1 << 16
