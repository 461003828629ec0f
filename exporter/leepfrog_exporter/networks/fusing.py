"""Torch networks fused for inference, and their comparison with the unfused originals."""

from __future__ import annotations

from typing import Any

import numpy as np
from leepfrog.errors import one_line
from leepfrog.progress import Progress
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from leepfrog_exporter.graph.heads.base import Head
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.parity import Reference

_FUSING_METHODS = ("fuse", "reparameterize", "switch_to_deploy")


def fused(module: Any, source: str, progress: Progress) -> Any:
    """Fuse the branches that only training needs, as in MobileOne or RepVGG.

    The parity check compares the fused network with the original.

    Args:
        module: a torch.nn.Module in evaluation mode; not changed.
        source: name of the network in messages.
        progress: receives a notice if fusing fails.

    Returns:
        A fused copy, or the module itself if there is nothing to fuse or fusing fails.
    """
    fusable = [child for child in module.modules() if child is not module]
    if not any(callable(getattr(child, name, None)) for child in fusable for name in _FUSING_METHODS):
        return module
    try:
        with package("torch").no_grad():
            return package("timm").utils.reparameterize_model(module).eval()
    except Exception as error:  # a network's own method may raise anything
        reason = one_line(error, 200)
        progress.notice(f"{source}: cannot be fused for inference, exported in its training form: {reason}")
        return module


def torch_reference(module: Any, shipped: Any, head: Head) -> Reference:
    """Return a network as reference for the parity check; it also returns the inputs of the last linear layers.

    Args:
        module: the original network.
        shipped: the fused network, from which the graph was traced.
        head: head of the graph.
    """
    torch = package("torch")
    paths = [_path_of(location.weights, shipped) for location in head.locations]

    def reference(batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]] | None]:
        seen: dict[str, Any] = {}
        hooks = []
        for path in filter(None, paths):  # a fused layer has the path of the block that it replaces

            def see(_: Any, taken: Any, path: str = path) -> None:
                seen[path] = taken[0]

            hooks.append(module.get_submodule(path).register_forward_pre_hook(see))
        try:
            with torch.inference_mode():
                output = module(torch.from_numpy(batch)).numpy()
        finally:
            for hook in hooks:
                hook.remove()
        features = [seen[path].numpy() for path in paths if path in seen]
        return np.asarray(output), features if len(features) == len(paths) else None

    return reference


def _path_of(weights: TensorProto | None, shipped: Any) -> str | None:
    """Return the name of the module with a linear layer's weights; None if no single module has them."""
    if weights is None:
        return None
    stored = numpy_helper.to_array(weights)
    transposed = stored.T if stored.ndim == 2 else stored
    path = None
    for name, module in shipped.named_modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.numel() != stored.size:
            continue
        flat = weight.detach().numpy().ravel()
        if any(np.array_equal(flat, each.ravel()) for each in (stored, transposed)):
            path = name
    return path
