"""Intel's OpenVINO on the CPU; it also supports CPUs of other vendors."""

from __future__ import annotations

from leepfrog.inference.devices.base import Device

DEVICE = Device(
    "openvino",
    "OpenVINOExecutionProvider",
    # Full float32, even on CPUs that support bfloat16.
    options={"device_type": "CPU", "precision": "FP32"},
    threads_option="num_of_threads",
    uses_cores=True,
    may_fall_back=True,
    install="pip uninstall onnxruntime, then pip install onnxruntime-openvino",
    when_it_fails="its libraries are missing or of the wrong version",
    words=("openvino",),
)
