"""Devices that run models: one file per execution provider of onnxruntime.

A device is a module beside this one that holds a `DEVICE`, or an entry point of another package in the group
`leepfrog.devices` that points to a `Device`. Its name is the module's or the entry point's name. Nothing here imports
onnxruntime: completion and help read the names.

>>> DEVICES.names()[0]
'cpu'
>>> DEVICES.named("cpu").provider
'CPUExecutionProvider'
"""

from __future__ import annotations

from leepfrog.inference.choices import DEFAULT_DEVICE
from leepfrog.inference.devices.base import Device
from leepfrog.plugins import Plugins

GROUP = "leepfrog.devices"
"""The entry points of other packages' devices."""

DEVICES = Plugins(__name__, "DEVICE", GROUP, Device, "device", DEFAULT_DEVICE)
