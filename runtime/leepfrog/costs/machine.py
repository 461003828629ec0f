"""Identity of this machine, which stored costs are tied to, and the best known time of the reference graph on it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from leepfrog import paths
from leepfrog.errors import MachineError
from leepfrog.files import LARGEST_TEXT, read_regular, sealed, sha256_of, unsealed, write_whole
from leepfrog.inference.device import available_threads, environment
from leepfrog.inference.devices import DEVICES

# The best known time expires after this many seconds, since a machine may become permanently slower.
REMEMBERED = 7 * 86_400

_CONTAINER = (".dockerenv", "run/.containerenv", "run/systemd/container")


def machine(device: str) -> dict[str, Any]:
    """Return what latency and memory depend on besides the model: processor, system, usable cores and host."""
    values = environment(device, 1)
    facts = {name: values[name] for name in ("machine", "processor", "system")}
    facts |= {"cores": available_threads(), "host": host()}
    hardware = DEVICES.named(device).hardware()
    return facts | ({"hardware": hardware} if hardware else {})


def machine_key(device: str) -> str:
    """Return a hash of `machine` for use in file names."""
    return _hash(machine(device))


@functools.cache
def host(root: Path = Path("/")) -> str:
    """Return a hash that distinguishes this machine from others with the same processor.

    It is computed from the host name and the machine ID. In a container, these may come from its image; there, and if
    there is no machine ID, the boot ID of the kernel is used instead, which containers share with their host and which
    changes with every restart. Without a boot ID, only the host name is used.

    Args:
        root: root folder of the system's files.
    """
    in_container = "KUBERNETES_SERVICE_HOST" in os.environ or any((root / name).exists() for name in _CONTAINER)
    machine_id = "" if in_container else _text(root / "etc/machine-id")
    if machine_id and machine_id != "uninitialized":
        return _hash(["leepfrog", machine_id, platform.node()])
    return _hash(["leepfrog", _text(root / "proc/sys/kernel/random/boot_id") or platform.node()])


def best_reference(device: str, threads: int) -> float:
    """Return the best recent time of the reference graph on this machine, in seconds; 0 if unknown.

    Args:
        device: name of the device, such as "cpu" (see `leepfrog.inference.devices`).
        threads: number of threads within one run.
    """
    try:
        known = unsealed(read_regular(_path(device, threads), LARGEST_TEXT))
        seconds, age = float(known["seconds"]), time.time() - float(known["time"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return 0.0
    return seconds if seconds > 0 and 0 <= age < REMEMBERED else 0.0


def remember_reference(device: str, threads: int, seconds: float) -> None:
    """Store the time of the reference graph if it is the best known one; failures to store it are ignored."""
    best = best_reference(device, threads)
    if not best or seconds < best:
        with contextlib.suppress(MachineError):
            write_whole(_path(device, threads), sealed({"seconds": seconds, "time": time.time()}))


def _path(device: str, threads: int) -> Path:
    about = environment(device, threads)
    decides = [machine(device), threads, *(about[name] for name in ("onnxruntime", "provider", "ort_options"))]
    return paths.inference() / f"reference-{_hash(decides)}.json"


def _text(path: Path) -> str:
    """Return the stripped text of a system file, "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _hash(values: object) -> str:
    return sha256_of(json.dumps(values).encode())[:16]
