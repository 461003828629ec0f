"""Devices that run models, one module per onnxruntime execution provider.

A device is a module in this package that defines `DEVICE`, or an entry point of another package in the group
`leepfrog.devices` that refers to a `Device`. It is named after the module or entry point. Nothing here imports
onnxruntime, because shell completion and help need the names.

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
"""Entry-point group for devices of other packages."""

DEVICES = Plugins(__name__, "DEVICE", GROUP, Device, "device", DEFAULT_DEVICE)
