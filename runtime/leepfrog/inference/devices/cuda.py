"""NVIDIA GPUs."""

from __future__ import annotations

import os
from pathlib import Path

from leepfrog.inference.devices.base import Device


def gpus(root: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Return the model names of this machine's GPUs, followed by the value of CUDA_VISIBLE_DEVICES."""
    lines: list[str] = []
    for path in sorted(root.glob("*/information")):
        try:
            lines += path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return [*models, os.environ.get("CUDA_VISIBLE_DEVICES", "all")]


DEVICE = Device(
    "cuda",
    "CUDAExecutionProvider",
    # Full float32 (TF32 keeps only 10 mantissa bits), and no exhaustive algorithm search for every new batch size.
    options={"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
    images_forward=64,
    images_backward=16,
    install="to use an NVIDIA GPU: pip uninstall onnxruntime, then pip install onnxruntime-gpu",
    when_it_fails="the driver, CUDA or cuDNN is missing or of the wrong version",
    words=("cuda", "cudnn", "cublas"),
    hardware=gpus,
)
