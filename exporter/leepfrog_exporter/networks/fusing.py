"""Torch networks as they ship: fused for inference, and compared with what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
from leepfrog.errors import one_line
from leepfrog.progress import Progress
from numpy.typing import NDArray
from onnx import numpy_helper

from leepfrog_exporter.graph.heads.base import Head
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.parity import Reference

_FUSING_METHODS = ("fuse", "reparameterize", "switch_to_deploy")


def fused(module: Any, source: str, progress: Progress) -> Any:
    """The network with the branches fused that only training needs, as in MobileOne or RepVGG.

    The parity check compares it with what it was.

    Args:
        module: a torch.nn.Module in evaluation mode; left as it is.
        source: what messages call it.
        progress: told where a network can not be fused after all.

    Returns:
        A fused copy, or the module itself where there is nothing to fuse.
    """
    fusable = [child for child in module.modules() if child is not module]
    if not any(callable(getattr(child, name, None)) for child in fusable for name in _FUSING_METHODS):
        return module
    try:
        with package("torch").no_grad():
            return package("timm").utils.reparameterize_model(module).eval()
    except Exception as error:  # whatever a network's own method raises
        reason = one_line(error, 200)
        progress.notice(f"{source}: exported in its training form, which cannot be fused: {reason}")
        return module


def torch_reference(module: Any, shipped: Any, head: Head) -> Reference:
    """A network as the parity check's reference, with what its last linear layer sees.

    Args:
        module: the network as it came.
        shipped: the same, fused, from which the graph was traced.
        head: the graph's end.
    """
    torch = package("torch")
    path = _path_of(head, shipped)

    def reference(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        seen: list[Any] = []
        hook = None
        if path is not None:  # a fused layer stands where the whole that it was fused from stood
            layer = module.get_submodule(path)
            hook = layer.register_forward_pre_hook(lambda _, taken: seen.append(taken[0]))
        try:
            with torch.inference_mode():
                output = module(torch.from_numpy(batch)).numpy()
        finally:
            if hook is not None:
                hook.remove()
        return np.asarray(output), seen[-1].numpy() if seen else None

    return reference


def _path_of(head: Head, shipped: Any) -> str | None:
    """The name of the module that holds the last linear layer's weights; None where no single module does."""
    if head.weights is None:
        return None
    stored = numpy_helper.to_array(head.weights)
    transposed = stored.T if stored.ndim == 2 else stored
    path = None
    for name, module in shipped.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.numel() != stored.size:
            continue
        flat = weight.detach().numpy().ravel()
        if any(np.array_equal(flat, weights.ravel()) for weights in (stored, transposed)):
            path = name
    return path
