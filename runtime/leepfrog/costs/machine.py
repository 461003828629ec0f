"""Which machine this is, and how quick it has been: costs that were measured on another one do not count here."""

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

# After so many seconds the best known speed is forgotten: a machine may become slower for good.
REMEMBERED = 7 * 86_400

_CONTAINER = (".dockerenv", "run/.containerenv", "run/systemd/container")


def machine(device: str) -> dict[str, Any]:
    """What latency and memory depend on besides the model: processor, system, usable cores, and which machine it is."""
    values = environment(device, 1)
    facts = {name: values[name] for name in ("machine", "processor", "system")}
    facts |= {"cores": available_threads(), "host": host()}
    hardware = DEVICES.named(device).hardware()
    return facts | ({"hardware": hardware} if hardware else {})


def machine_key(device: str) -> str:
    """A hash of `machine`, for names of files."""
    return _hash(machine(device))


@functools.cache
def host(root: Path = Path("/")) -> str:
    """A hash that tells this machine from others with the same processor.

    It is taken of the host name and the machine ID. In a container these may be those of its image. So there, and where
    there is no machine ID, it is taken of the kernel's boot ID, which containers share with their host and which
    changes with every restart; where there is none either, of the host name.

    Args:
        root: the folder below which the files of the system are.
    """
    in_container = "KUBERNETES_SERVICE_HOST" in os.environ or any((root / name).exists() for name in _CONTAINER)
    machine_id = "" if in_container else _text(root / "etc/machine-id")
    if machine_id and machine_id != "uninitialized":
        return _hash(["leepfrog", machine_id, platform.node()])
    return _hash(["leepfrog", _text(root / "proc/sys/kernel/random/boot_id") or platform.node()])


def best_reference(device: str, threads: int) -> float:
    """The least seconds that the reference graph took on this machine in the last days; 0 if that is not known.

    Args:
        device: its name, such as "cpu" (see `leepfrog.inference.devices`).
        threads: within a run of it.
    """
    try:
        known = unsealed(read_regular(_path(device, threads), LARGEST_TEXT))
        seconds, age = float(known["seconds"]), time.time() - float(known["time"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return 0.0
    return seconds if seconds > 0 and 0 <= age < REMEMBERED else 0.0


def remember_reference(device: str, threads: int, seconds: float) -> None:
    """Keep the reference graph's seconds if they are the best known ones; nothing happens where they cannot be kept."""
    best = best_reference(device, threads)
    if not best or seconds < best:
        with contextlib.suppress(MachineError):
            write_whole(_path(device, threads), sealed({"seconds": seconds, "time": time.time()}))


def _path(device: str, threads: int) -> Path:
    about = environment(device, threads)
    decides = [machine(device), threads, *(about[name] for name in ("onnxruntime", "provider", "ort_options"))]
    return paths.inference() / f"reference-{_hash(decides)}.json"


def _text(path: Path) -> str:
    """What a file of the system holds, "" if there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _hash(values: object) -> str:
    return sha256_of(json.dumps(values).encode())[:16]
