"""Devices that run models: onnxruntime's execution providers, one file each.

A device is a module beside this one that holds a `DEVICE`, or an entry point of another package in the group
`leepfrog.devices` that points to a `Device`. Its name is the module's or the entry point's name. Nothing here imports
onnxruntime: completion and help read the names.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from importlib import metadata

from leepfrog.arguments import check_name
from leepfrog.errors import MachineError, one_line
from leepfrog.inference.devices.base import Device

GROUP = "leepfrog.devices"
"""The entry points of other packages' devices."""

DEFAULT = "cpu"


@functools.cache
def device_names() -> tuple[str, ...]:
    """The names of all devices, the default first.

    >>> device_names()[0]
    'cpu'
    """
    own = {module.name for module in pkgutil.iter_modules(__path__)} - {"base"}
    others = {point.name for point in metadata.entry_points(group=GROUP)}
    return tuple(sorted(own | others, key=lambda name: (name != DEFAULT, name)))


@functools.cache
def device_named(name: str) -> Device:
    """A device by its name.

    Raises:
        UsageError: there is none of this name.
        MachineError: it comes from another package, which is broken.

    >>> device_named("cpu").provider
    'CPUExecutionProvider'
    """
    check_name("device", name, device_names())
    for module in pkgutil.iter_modules(__path__):
        if module.name == name:
            device = importlib.import_module(f"{__name__}.{name}").DEVICE
            assert isinstance(device, Device)
            return device
    (point, *_) = metadata.entry_points(group=GROUP, name=name)
    try:
        device = point.load()
    except Exception as error:  # another package's
        raise MachineError(f"device {name}: {point.value} cannot be imported: {one_line(error)}") from None
    if not isinstance(device, Device) or device.name != name:
        raise MachineError(f"device {name}: {point.value} is not a leepfrog Device of this name")
    return device
