"""The CPU, with onnxruntime's default kernels."""

from __future__ import annotations

from leepfrog.inference.devices.base import CPU_PROVIDER, Device

# Small batches fit the CPU's caches. A backward pass keeps all activations, which exceed the caches for two or more
# images.
DEVICE = Device("cpu", CPU_PROVIDER, images_forward=4, images_backward=1, lanes="cores", uses_cores=True)
