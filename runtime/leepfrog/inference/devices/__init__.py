"""Devices that run models: one file per execution provider of onnxruntime.

A device is a module beside this one that holds a `DEVICE`, or an entry point of another package in the group
`leepfrog.devices` that points to a `Device`. Its name is the module's or the entry point's name. Nothing here imports
onnxruntime: completion and help read the names.
"""

from __future__ import annotations

import functools

from leepfrog.inference.devices.base import Device
from leepfrog.plugins import Plugins

GROUP = "leepfrog.devices"
"""The entry points of other packages' devices."""

DEFAULT = "cpu"

_DEVICES = Plugins(__name__, "DEVICE", GROUP, Device, "device")


@functools.cache
def device_names() -> tuple[str, ...]:
    """The names of all devices, the default first.

    >>> device_names()[0]
    'cpu'
    """
    return tuple(sorted(_DEVICES.names(), key=lambda name: name != DEFAULT))


@functools.cache
def device_named(name: str) -> Device:
    """A device by its name.

    Raises:
        UsageError: there is none of this name.
        MachineError: it comes from another package, which is broken.

    >>> device_named("cpu").provider
    'CPUExecutionProvider'
    """
    return _DEVICES.named(name)
