"""The processor, by onnxruntime's own kernels."""

from __future__ import annotations

from leepfrog.inference.devices.base import CPU_PROVIDER, Device

# Small batches stay in its caches and waste nothing. A backward pass holds every activation, which from two images on
# fits no cache.
DEVICE = Device("cpu", CPU_PROVIDER, images_forward=4, images_backward=1, lanes="cores", uses_cores=True)
