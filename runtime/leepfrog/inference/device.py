"""Which processor runs the models, and how many threads it may use."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import PIL

from leepfrog import __version__
from leepfrog.errors import MachineError, UsageError

Device = Literal["cpu", "cuda"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_PROVIDER_OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {},
    # Full float32 (TF32 keeps 10 bits of the mantissa), and no exhaustive search anew for each batch size.
    "cuda": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
}


def providers(device: str) -> list[tuple[str, dict[str, Any]]]:
    """The execution providers to ask onnxruntime for; the CPU always stands behind, for nodes a GPU has no kernel for.

    Raises:
        UsageError: an unknown device.
        MachineError: this onnxruntime was not built for the device.
    """
    if device not in PROVIDERS:
        raise UsageError(f"device {device!r} is unknown; one of {', '.join(PROVIDERS)}")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[device] not in available:
        raise MachineError(
            f"this onnxruntime {onnxruntime.__version__} has no {PROVIDERS[device]} (it has {', '.join(available)}); "
            "to use an NVIDIA GPU: pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
    chosen = [(PROVIDERS[device], _PROVIDER_OPTIONS[device])]
    return chosen if device == "cpu" else [*chosen, (PROVIDERS["cpu"], {})]


def available_threads() -> int:
    """Cores that this process may use: its CPU affinity, and a container's quota where one is set."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota()))


def environment(device: str, threads: int) -> dict[str, Any]:
    """What besides data and models may move a result: versions, provider, threads and machine."""
    return {
        "leepfrog": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "provider": PROVIDERS[device],
        "threads": threads,
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _quota(control: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Whole cores of the control group's quota (cgroup v2); a fraction counts as one more."""
    try:
        quota, period = control.read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max"
        return 1 << 16
